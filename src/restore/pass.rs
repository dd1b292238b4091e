//! One pass over the members of the wanted volumes, each handed to where it goes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::archive::content::Content;
use crate::archive::walk::{Step, Walk};
use crate::error::Result;
use crate::restore::batch::{NewFile, PerVolume};
use crate::restore::crew::{self, Crew};
use crate::restore::extract::Extractor;
use crate::restore::job::Job;
use crate::restore::only::is_asked_for;
use crate::restore::outline::Outline;
use crate::restore::overwrite::FileSource;
use crate::restore::rules::check_kind;
use crate::restore::survey::{FoundMember, OutsideFile, walk_on};
use crate::restore::target::FileTarget;
use crate::snapshot::whole::WholeWalk;
use crate::volume::VolumeType;

type RestoredAs = HashMap<(usize, Vec<u8>), Vec<u8>>;

/// Where the members of one wanted volume go.
pub(super) enum Destination {
    /// Below a directory.
    Extract(Box<Extractor>),
    /// They are read and checked, as a whole too.
    Outline(Box<Outline>),
    /// A file volume's one member is read and checked, and kept to be written later.
    File(Option<FileSource>),
}

/// Reads and checks every member, and hands it to its volume's destination: `dirs` has those of the volumes
/// that are directories, each with which of the wanted volumes it is. Returns the members of `files`, in
/// their order.
pub(super) fn run(
    job: &Job,
    dirs: impl IntoIterator<Item = (usize, Destination)>,
    files: &[FileTarget],
) -> Result<Vec<FileSource>> {
    let mut destinations: Vec<Destination> = job.wanted.iter().map(|_| Destination::File(None)).collect();
    for (wanted, destination) in dirs {
        destinations[wanted] = destination;
    }
    std::thread::scope(|scope| {
        let mut crew = Crew::start(scope, crew::workers(), job);
        let handed_out = hand_out(job, &mut destinations, &mut crew);
        crew.finish(handed_out)
    })?;
    let sources = destinations.into_iter().map(|destination| match destination {
        Destination::Extract(_) | Destination::Outline(_) => None,
        Destination::File(source) => source,
    });
    let mut sources: Vec<Option<FileSource>> = sources.collect();
    Ok(files.iter().filter_map(|file| sources[file.wanted].take()).collect())
}

fn hand_out(job: &Job, destinations: &mut [Destination], crew: &mut Crew) -> Result<()> {
    let volumes: Vec<Arc<PerVolume>> =
        job.wanted.iter().map(|wanted| PerVolume::new(wanted.place.as_bytes())).collect();
    // Where only some paths are restored: sources outside of these, by their volume and path, and under which
    // of their names they were restored.
    let mut restored_as = RestoredAs::new();
    // Files that came before their turn, as a further name did.
    let mut ahead: HashSet<Vec<u8>> = HashSet::new();
    let mut hand = |found: FoundMember, crew: &mut Crew| {
        let (path, member) = (found.path, found.member);
        match &mut destinations[found.wanted] {
            Destination::Extract(extractor) => {
                return extract(job, extractor, &found, &mut restored_as, crew);
            }
            Destination::Outline(outline) => {
                let mut content = Content::new(job.reader, member.data());
                outline.member(path, member, found.source, &mut content)?;
            }
            Destination::File(source) => {
                if check_kind(VolumeType::File, path, member.kind).is_err() || source.is_some() {
                    let content = Content::new(job.reader, member.data());
                    return Err(content.damaged("a volume that is a file has another member"));
                }
                let (header, member) = (member.header.to_vec(), Box::new(member.to_member()));
                *source = Some(FileSource { member, header });
            }
        }
        crew.file(NewFile::to_check(&volumes[found.wanted], path, member))
    };
    // What references lead to was come upon when the headers were walked over.
    let walk = WholeWalk::with_data(job.reader, job.snapshot, &crew.chunks())?;
    walk_on(
        walk,
        job.reader,
        job.snapshot,
        job.wanted,
        |_| {},
        |found| {
            job.run.cancel.check("the volumes are as they were")?;
            if !is_asked_for(found.path, job.wanted[found.wanted].only.as_ref())
                || found.source.is_none() && ahead.contains(found.path)
            {
                return Ok(());
            }
            if let Some((path, start)) = original_ahead(job, &found)
                && ahead.insert(path.to_vec())
                && let Step::Member(member) = Walk::new(Arc::clone(job.reader), start).step()?
            {
                hand(FoundMember { wanted: found.wanted, path, member: &member, source: None }, crew)?;
            }
            hand(found, crew)
        },
    )?;
    for destination in destinations {
        if let Destination::Extract(extractor) = destination {
            extractor.finish(crew)?;
        }
    }
    Ok(())
}

/// What a hard link is a further name of, and where that is, if it comes later.
fn original_ahead<'a>(job: &Job, found: &FoundMember<'a>) -> Option<(&'a [u8], u64)> {
    let source = found.source?;
    let start = *job.survey.later.get(source)?;
    (start > found.member.stored.start).then_some((source, start))
}

fn extract(
    job: &Job,
    extractor: &mut Extractor,
    found: &FoundMember,
    restored_as: &mut RestoredAs,
    crew: &mut Crew,
) -> Result<()> {
    let FoundMember { path, member, .. } = *found;
    let mut source = found.source;
    if let Some(&OutsideFile { start: Some(start), late }) =
        source.and_then(|source| job.survey.volumes[found.wanted].sources.get(source))
    {
        let source_path = (found.wanted, source.unwrap_or_default().to_vec());
        match restored_as.get(&source_path) {
            None => {
                // Its first name here: it becomes the file itself.
                restored_as.insert(source_path, path.to_vec());
                let mut walk = Walk::new(Arc::clone(job.reader), start);
                return match walk.step()? {
                    Step::Member(mut original) => {
                        original.stored.late = late;
                        extractor.member(path, &original, None, crew)
                    }
                    Step::End(_) => Ok(()),
                };
            }
            Some(first) => source = Some(first),
        }
    }
    extractor.member(path, member, source, crew)
}
