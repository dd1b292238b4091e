//! One pass over the members of the wanted volumes, each handed to where it goes.

use std::collections::HashMap;

use crate::archive::content::Content;
use crate::archive::entry::Kind;
use crate::error::Result;
use crate::observer::Run;
use crate::restore::Job;
use crate::restore::extract::{Extractor, LinkSource};
use crate::restore::outline::Outline;
use crate::restore::overwrite::Source;
use crate::restore::survey::{Found, is_asked_for, walk};
use crate::restore::target::FileTarget;
use crate::snapshot::manifest::Warnings;

const PART: usize = 1 << 20;

/// Where the members of one wanted volume go.
pub(super) enum Destination<'a> {
    /// Below a directory.
    Extract(Box<Extractor<'a>>),
    /// They are read and checked, as a whole too.
    Outline(Box<Outline>),
    /// A file volume's one member is read and checked, and kept to be written later.
    File(Option<Source>),
}

/// Reads and checks every member, and hands it to its volume's destination: `dirs` has those of the volumes that are
/// directories, each with which of the wanted volumes it is. Returns the members of `files`, in their order.
pub(super) fn run<'a>(
    job: &Job,
    dirs: impl IntoIterator<Item = (usize, Destination<'a>)>,
    files: &[FileTarget],
    warnings: &mut Warnings,
) -> Result<Vec<Source>> {
    let mut destinations: Vec<Destination> = job.wanted.iter().map(|_| Destination::File(None)).collect();
    for (wanted, destination) in dirs {
        destinations[wanted] = destination;
    }
    hand_out(job, &mut destinations, warnings)?;
    let mut sources = Vec::new();
    for destination in destinations {
        sources.push(match destination {
            Destination::Extract(extractor) => {
                extractor.finish(warnings)?;
                None
            }
            Destination::Outline(_) => None,
            Destination::File(source) => source,
        });
    }
    Ok(files.iter().filter_map(|file| sources[file.wanted].take()).collect())
}

fn hand_out(job: &Job, destinations: &mut [Destination], warnings: &mut Warnings) -> Result<()> {
    let mut buffer = vec![0; PART];
    // With `only`: sources outside it, and under which of their names they were restored.
    let mut restored_as: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    walk(job.reader, job.snapshot, job.wanted, |found| {
        job.run.cancel.check("the volumes are as they were")?;
        if !is_asked_for(found.path, job.only.as_deref()) {
            return Ok(());
        }
        match &mut destinations[found.wanted] {
            Destination::Extract(extractor) => extract(job, extractor, &found, &mut restored_as, warnings),
            Destination::Outline(outline) => {
                let mut content = Content::new(job.reader, found.member, found.header);
                outline.member(found.path, found.member, link_source(job, &found), &mut content)?;
                check(content, &mut buffer, job.run)
            }
            Destination::File(source) => {
                let content = Content::new(job.reader, found.member, found.header);
                if !found.path.is_empty() || found.member.entry.kind != Kind::File || source.is_some() {
                    return Err(content.damaged("a volume that is a file has another member"));
                }
                *source =
                    Some(Source { member: Box::new(found.member.clone()), header: found.header.to_vec() });
                check(content, &mut buffer, job.run)
            }
        }
    })
}

fn check(content: Content, buffer: &mut [u8], run: &Run) -> Result<()> {
    content.check(buffer, |count| {
        run.observer.bytes(count);
        run.cancel.check("the volumes are as they were")
    })
}

/// What a hard link is a further name of, if that lies in the same volume.
fn link_source<'a>(job: &Job, found: &Found<'a>) -> LinkSource<'a> {
    let place = job.snapshot.layout.locate(&found.member.entry.link)?;
    (place.volume == job.wanted[found.wanted].index).then_some(place.path)
}

fn extract(
    job: &Job,
    extractor: &mut Extractor,
    found: &Found,
    restored_as: &mut HashMap<Vec<u8>, Vec<u8>>,
    warnings: &mut Warnings,
) -> Result<()> {
    let Found { path, member, header, .. } = *found;
    let mut source = link_source(job, found);
    if member.entry.kind == Kind::HardLink
        && let Some((original, original_header)) = source.and_then(|source| job.survey.sources.get(source))
    {
        let source_path = source.unwrap_or_default().to_vec();
        match restored_as.get(&source_path) {
            None => {
                // Its first name here: it becomes the file itself.
                restored_as.insert(source_path, path.to_vec());
                return extractor.member(path, original, None, job.reader, original_header, warnings);
            }
            Some(first) => source = Some(first),
        }
    }
    extractor.member(path, member, source, job.reader, header, warnings)
}
