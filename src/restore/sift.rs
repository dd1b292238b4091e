//! Which members of a damaged snapshot are restored: those that are as they were written, and that can be
//! restored without the others. All of it is read before anything is made; what is left out becomes a gap,
//! which every later walk steps over, and the restore is then one like any other.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::archive::BLOCK;
use crate::archive::content::Content;
use crate::archive::decode::Head;
use crate::archive::open::Reader;
use crate::archive::search::LostName;
use crate::archive::ustar::Block;
use crate::error::{Error, Result};
use crate::name::Shown;
use crate::observer::{Phase, Run};
use crate::report::LeftOut;
use crate::restore::only::is_asked_for;
use crate::restore::outline::Outline;
use crate::restore::owners::OwnerRules;
use crate::restore::wanted::Wanted;
use crate::snapshot::gaps::{Gap, Gaps};
use crate::snapshot::index::Lates;
use crate::snapshot::layout::Place;
use crate::snapshot::salvage::Remnant;
use crate::snapshot::whole::{LostReference, Trust, WholeStep, WholeWalk};
use crate::snapshot::{SNAPSHOT_JSON, Snapshot, VOLUMES_DATA, begin_block, under};

/// What became of a damaged snapshot's members.
#[derive(Debug, Default)]
pub(super) struct Sifted {
    pub(super) left_out: Vec<LeftOut>,
    /// Full paths of directories that are made without their attributes.
    pub(super) made: Vec<Vec<u8>>,
    /// How many members were found by searching.
    pub(super) found: u64,
}

enum Verdict {
    Taken,
    /// Later walks pass it by.
    NotAskedFor,
    /// It is of no volume, and later walks must not meet it.
    NoMember,
}

struct Sift<'a> {
    reader: &'a Arc<Reader>,
    snapshot: &'a Snapshot,
    wanted: &'a [Wanted],
    outlines: Vec<Outline>,
    /// How many members of each wanted volume are taken.
    taken: Vec<u64>,
    gaps: Gaps,
    /// Offsets of members in earlier snapshots that cannot be restored.
    lost: HashSet<u64>,
    lates: Lates,
    sifted: Sifted,
    begin: Block,
    buffer: Vec<u8>,
    run: &'a Run<'a>,
}

/// Leaves out of `remnant` what cannot be restored, and out of `wanted` the volumes that nothing is left of.
pub(super) fn sift(
    reader: &Arc<Reader>,
    remnant: &mut Remnant,
    wanted: &mut Vec<Wanted>,
    owners: &Arc<OwnerRules>,
    run: &Run,
) -> Result<Sifted> {
    run.observer.begin(Phase::Verifying, Some(remnant.snapshot.end - remnant.snapshot.start));
    let mut sift = Sift {
        reader,
        snapshot: &remnant.snapshot,
        wanted,
        outlines: wanted
            .iter()
            .map(|one| Outline::of(one.kind, one.path.as_bytes(), Arc::clone(owners)).in_any_order())
            .collect(),
        taken: vec![0; wanted.len()],
        gaps: Gaps::default(),
        lost: HashSet::new(),
        lates: Lates::of(reader, &remnant.snapshot)?,
        sifted: Sifted::default(),
        begin: begin_block(),
        buffer: vec![0; 256 << 10],
        run,
    };
    sift.walk(remnant)?;
    let Sift { outlines, taken, gaps, lost, mut sifted, .. } = sift;
    if remnant.sure {
        // They lie where they did.
        sifted.found = 0;
    }
    let made = outlines.iter().zip(&*wanted).flat_map(|(outline, one)| outline.made(one.only.as_ref()));
    sifted.made = made.collect();
    drop_lost(reader, remnant, wanted, &taken, &mut sifted)?;
    (remnant.snapshot.gaps, remnant.snapshot.lost) = (gaps, Arc::new(lost));
    Ok(sifted)
}

/// Leaves out what cannot be restored of a snapshot whose members have no checksums: those before the damage
/// are restored as they are.
pub(super) fn what_is_left(reader: &Reader, remnant: &Remnant, wanted: &mut Vec<Wanted>) -> Result<Sifted> {
    let mut sifted = Sifted::default();
    if remnant.counted {
        return Ok(sifted);
    }
    let lost = |gap: &Gap| LeftOut { offset: gap.offset, name: None, reason: gap.describe() };
    sifted.left_out.extend(remnant.gaps.iter().map(lost));
    let taken: Vec<u64> = wanted.iter().map(|one| remnant.snapshot.volumes[one.index].entries).collect();
    drop_lost(reader, remnant, wanted, &taken, &mut sifted)?;
    Ok(sifted)
}

impl LeftOut {
    /// Of the newest snapshot that is left: it may not be the newest that there was.
    pub(super) fn newer(gap: &Gap) -> Self {
        let reason = format!("a newer snapshot may have been here: {}", gap.describe());
        LeftOut { offset: gap.offset, name: None, reason }
    }
}

/// Leaves out of `wanted` the volumes that nothing is left of, and lists what is lost beside single members.
fn drop_lost(
    reader: &Reader,
    remnant: &Remnant,
    wanted: &mut Vec<Wanted>,
    taken: &[u64],
    sifted: &mut Sifted,
) -> Result<()> {
    sifted.left_out.extend(lost_count(remnant));
    for (one, _) in wanted.iter().zip(taken).filter(|&(_, &taken)| taken == 0) {
        let name = Some(under(&remnant.snapshot.prefix, crate::volume::id(&one.path)));
        let reason = "nothing of this volume is left".to_owned();
        sifted.left_out.push(LeftOut { offset: remnant.snapshot.start, name, reason });
    }
    let mut taken = taken.iter();
    wanted.retain(|_| taken.next().is_some_and(|&taken| taken > 0));
    if wanted.is_empty() {
        return Err(Error::NoSnapshot(format!(
            "nothing that is sound is left of what is to be restored from snapshot {} in {}: `snapshotter \
             verify` tells what is",
            remnant.snapshot.id,
            reader.name()
        )));
    }
    Ok(())
}

/// What can be said of members that left no trace.
fn lost_count(remnant: &Remnant) -> Option<LeftOut> {
    let snapshot = &remnant.snapshot;
    let reason = if remnant.doubtful {
        "the snapshot was found by searching, and may as a whole be the content of a file of another one"
    } else if !remnant.counted {
        "it is damaged or cut off, and so it cannot be told what else is missing"
    } else if !remnant.is_whole() && remnant.gaps.is_empty() {
        "the members are not those that the snapshot was closed with: some are missing, or were put in"
    } else {
        return None;
    };
    let closing = if snapshot.is_go() { VOLUMES_DATA } else { SNAPSHOT_JSON };
    let name = Some(under(&snapshot.prefix, closing));
    Some(LeftOut { offset: snapshot.close, name, reason: reason.to_owned() })
}

impl Sift<'_> {
    fn walk(&mut self, remnant: &Remnant) -> Result<()> {
        let mut walk = WholeWalk::new(self.reader, self.snapshot, Trust::Jumped)?;
        let (mut passed, mut from) = (0, self.snapshot.start);
        loop {
            self.run.cancel.check("nothing was changed")?;
            let at = walk.position();
            if at > from {
                self.leave(from..at);
                for gap in remnant.gaps.iter().skip(passed).take_while(|gap| gap.range.start < at) {
                    self.list_gap(gap);
                    passed += 1;
                }
                from = at;
            }
            let mut head = match walk.step(self.snapshot.close)? {
                WholeStep::Own(head) => head,
                WholeStep::Base(head) => {
                    self.reference(&head)?;
                    continue;
                }
                WholeStep::Lost(lost) => {
                    self.lose(lost)?;
                    continue;
                }
                WholeStep::End => return Ok(()),
            };
            from = head.stored.end();
            if let Some(place) = self.snapshot.layout.locate(head.name) {
                self.lates.complete(&mut head, &place)?;
            }
            if head.stored.start == self.snapshot.start && head.header == self.begin {
                continue;
            }
            match self.member(&head) {
                Ok(Verdict::Taken) => self.sifted.found += u64::from(passed > 0),
                Ok(Verdict::NotAskedFor) => {}
                Ok(Verdict::NoMember) => self.leave(head.stored.start..head.stored.end()),
                Err(reason) => {
                    self.leave(head.stored.start..head.stored.end());
                    self.list(&head, reason?);
                }
            }
            self.run.observer.bytes(head.stored.end() - head.stored.start);
        }
    }

    /// Takes a member that lies in an earlier snapshot.
    fn reference(&mut self, head: &Head) -> Result<()> {
        match self.member(head) {
            Ok(_) => {}
            Err(reason) => {
                self.lost.insert(head.stored.start);
                self.list(head, reason?);
            }
        }
        self.run.observer.bytes(head.stored.end() - head.stored.start);
        Ok(())
    }

    /// Leaves out what a reference leads to.
    fn lose(&mut self, lost: LostReference) -> Result<()> {
        let LostReference { name, target, error } = lost;
        let Error::Damaged { reason, .. } = error else { return Err(error) };
        self.lost.insert(target);
        if self.is_asked_for(&name) {
            let reason = without_name(reason, &name);
            self.sifted.left_out.push(LeftOut { offset: target, name: Some(name), reason });
        }
        Ok(())
    }

    /// A stretch that is not walked through again.
    fn leave(&mut self, stretch: Range<u64>) {
        self.gaps.push(Gap::silent(stretch));
    }

    fn list_gap(&mut self, gap: &Gap) {
        let is_ours = |lost: &&LostName| self.snapshot.layout.locate(&lost.name).is_some();
        let mut left_out: Vec<LeftOut> = gap
            .names
            .iter()
            .filter(is_ours)
            .map(|lost| LeftOut { offset: lost.at, name: Some(lost.name.clone()), reason: gap.describe() })
            .collect();
        // A name stands in its member's last header block: before that there is room for others that left
        // none.
        let told_from = left_out.iter().map(|one| one.offset).min();
        if told_from.is_none_or(|first| first > gap.range.start + 2 * BLOCK) {
            left_out.insert(0, LeftOut { offset: gap.range.start, name: None, reason: gap.describe() });
        }
        self.sifted.left_out.extend(left_out);
    }

    fn list(&mut self, head: &Head, reason: String) {
        if self.is_asked_for(head.name) {
            self.sifted.left_out.push(LeftOut {
                offset: head.stored.start,
                name: Some(head.name.to_vec()),
                reason,
            });
        }
    }

    /// Whether what is wrong with a member is to be told.
    fn is_asked_for(&self, name: &[u8]) -> bool {
        let place = self.snapshot.layout.locate(name);
        let is_of_none = |place: &Place| {
            let wanted = self.wanted.iter().find(|wanted| wanted.index == place.volume);
            wanted.is_some_and(|wanted| !is_asked_for(place.path, wanted.only.as_ref()))
        };
        !place.as_ref().is_some_and(is_of_none)
    }

    /// What to do with a member; an error is what is wrong with it, or keeps it from being read.
    fn member(&mut self, head: &Head) -> Result<Verdict, Result<String>> {
        let damage = |error: Error| match error {
            Error::Damaged { reason, .. } => Ok(without_name(reason, head.name)),
            Error::Volume { reason, .. } => Ok(reason),
            other => Err(other),
        };
        let bad = |reason: &str| Err(Ok(reason.to_owned()));
        let place = self.snapshot.layout.locate(head.name);
        let wanted = place
            .as_ref()
            .and_then(|place| self.wanted.iter().position(|wanted| wanted.index == place.volume));
        let content = || Content::new(self.reader, head.data());
        let run = self.run;
        let mut check = || content().check(&mut self.buffer, |_| run.cancel.check("nothing was changed"));
        let (Some(place), Some(wanted)) = (&place, wanted) else {
            if place.is_some() {
                return Ok(Verdict::NotAskedFor);
            }
            if head.name == under(&self.snapshot.prefix, VOLUMES_DATA) {
                check().map_err(damage)?;
                let is_in_place = head.stored.end() == self.snapshot.close;
                return Ok(if is_in_place { Verdict::NotAskedFor } else { Verdict::NoMember });
            }
            if self.snapshot.is_index(head.name) {
                check().map_err(damage)?;
                return Ok(Verdict::NotAskedFor);
            }
            let is_close = head.stored.is_close();
            return if is_close { Ok(Verdict::NoMember) } else { bad("it belongs to no volume") };
        };
        if head.stored.checksum.is_none() {
            return bad("it has no checksum");
        }
        check().map_err(damage)?;
        let source = self.snapshot.layout.locate(head.link).filter(|source| source.volume == place.volume);
        let source = source.map(|source| source.path);
        self.outlines[wanted].member(place.path, head, source, &mut content()).map_err(damage)?;
        self.taken[wanted] += 1;
        let only = self.wanted[wanted].only.as_ref();
        Ok(if is_asked_for(place.path, only) { Verdict::Taken } else { Verdict::NotAskedFor })
    }
}

/// The reasons of the archive's layer begin with the member's name, which is listed beside them.
fn without_name(reason: String, name: &[u8]) -> String {
    let name = format!("{}: ", Shown::from(name));
    reason.strip_prefix(&name).map(str::to_owned).unwrap_or(reason)
}
