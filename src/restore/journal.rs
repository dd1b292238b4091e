//! The journal of a swap, as bytes: fields of a length (four bytes, little endian) and that many bytes. Each
//! entry is a tag and its fields. What the directories are given afterwards is not in it, as it is only read
//! to undo.

use crate::restore::metadata::Metadata;
use crate::restore::plan::{Exchanged, Plan};
use crate::time::Time;

const FIRST: &[u8] = b"snapshotter journal 1";
const AWAY: &[u8] = b"away";
const HERE: &[u8] = b"here";
const KEPT: &[u8] = b"kept";
const METADATA: &[u8] = b"metadata";
const LAST: &[u8] = b"end";

pub(super) fn encode(plan: &Plan) -> Vec<u8> {
    let mut journal = Vec::new();
    let mut put = |field: &[u8]| {
        // No name or attribute is longer than 4 GiB.
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        journal.extend_from_slice(&length.to_le_bytes());
        journal.extend_from_slice(field);
    };
    put(FIRST);
    for (tag, paths) in [(AWAY, &plan.away), (HERE, &plan.here), (KEPT, &plan.kept)] {
        for path in paths {
            put(tag);
            put(path);
        }
    }
    for Exchanged { path, before, .. } in &plan.exchanged {
        put(METADATA);
        put(path);
        put(&before.mode.to_le_bytes());
        let (uid, gid) = before.owner.unwrap_or((u32::MAX, u32::MAX));
        put(&uid.to_le_bytes());
        put(&gid.to_le_bytes());
        put(before.mtime.to_pax().as_bytes());
        put(&u32::try_from(before.xattrs.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (name, value) in &before.xattrs {
            put(name);
            put(value);
        }
    }
    put(LAST);
    journal
}

/// `None` when it is malformed or cut off.
pub(super) fn decode(journal: &[u8]) -> Option<Plan> {
    let mut fields = JournalFields(journal);
    let mut plan = Plan::default();
    if fields.next()? != FIRST {
        return None;
    }
    loop {
        let tag = fields.next()?;
        match tag {
            AWAY => plan.away.push(fields.next()?.to_vec()),
            HERE => plan.here.push(fields.next()?.to_vec()),
            KEPT => plan.kept.push(fields.next()?.to_vec()),
            METADATA => {
                let path = fields.next()?.to_vec();
                let before = metadata(&mut fields)?;
                plan.exchanged.push(Exchanged { path, after: before.clone(), before });
            }
            LAST => return fields.0.is_empty().then_some(plan),
            _ => return None,
        }
    }
}

fn metadata(fields: &mut JournalFields) -> Option<Metadata> {
    let mode = fields.number()?;
    let (uid, gid) = (fields.number()?, fields.number()?);
    let mtime = Time::from_pax(std::str::from_utf8(fields.next()?).ok()?)?;
    let count = fields.number()?;
    let mut xattrs = Vec::new();
    for _ in 0..count {
        xattrs.push((fields.next()?.to_vec(), fields.next()?.to_vec()));
    }
    let owner = (uid != u32::MAX && gid != u32::MAX).then_some((uid, gid));
    Some(Metadata { mode, owner, mtime, xattrs, ..Metadata::default() })
}

struct JournalFields<'a>(&'a [u8]);

impl<'a> JournalFields<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        self.0 = rest;
        Some(field)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.next()?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_says_what_the_plan_was_and_a_torn_one_says_nothing() {
        let before = Metadata {
            mode: 0o2755,
            owner: Some((0, 4_294_967_294)),
            mtime: Time { secs: -1, nanos: 5 },
            xattrs: vec![(b"user.a".to_vec(), b"\0\n\xff".to_vec())],
            ..Metadata::default()
        };
        let plan = Plan {
            away: vec![b"a\nb".to_vec(), b"\xff".to_vec()],
            here: vec![b"a/b".to_vec()],
            kept: vec![b"a".to_vec()],
            exchanged: vec![Exchanged { path: Vec::new(), after: before.clone(), before }],
        };
        let journal = encode(&plan);
        assert_eq!(decode(&journal), Some(plan));
        for length in 0..journal.len() {
            assert_eq!(decode(&journal[..length]), None, "{length}");
        }
    }
}
