//! Reads an archive with all that only reads, and holds what the program says against itself.

use std::path::Path;

use snapshotter::observer::Run;
use snapshotter::{ListOptions, Listing, Tail, Verification, list, members, verify};

/// What came of reading.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) listed: Result<Listing, String>,
    pub(crate) verified: Result<Verification, String>,
}

/// Lists, shows and verifies the archive at `path`, which is `length` bytes long. Panics where the answers
/// contradict each other.
pub(crate) fn read(path: &Path, length: u64) -> Seen {
    let options = ListOptions { archive: path.into(), ..ListOptions::default() };
    let listed = list(&options, &Run::default());
    let verified = verify(&options, &Run::default());
    match (&listed, &verified) {
        // What does not begin as an archive may have sound members further on.
        (Err(_), Ok(verified)) => {
            assert!(!verified.problems.is_empty() && !verified.snapshots.is_empty(), "{verified:?}");
        }
        _ => assert_eq!(listed.is_ok(), verified.is_ok(), "{listed:?}\n{verified:?}"),
    }
    if let (Ok(listing), Ok(verification)) = (&listed, &verified) {
        compare(listing, verification, length);
        let snapshots = &listing.snapshots;
        // Two copies of a snapshot have one ID, and the newer one is meant.
        let is_newest = |at: &usize| snapshots[at + 1..].iter().all(|newer| newer.id != snapshots[*at].id);
        for snapshot in (0..snapshots.len()).filter(is_newest).take(4).map(|at| &snapshots[at]) {
            let (mut position, mut count) = (snapshot.offset, 0);
            let shown = members(&options, &snapshot.id, &Run::default(), &mut |member| {
                assert!(
                    position <= member.stored.start && member.stored.end() <= snapshot.end(),
                    "{member:?}"
                );
                position = member.stored.end();
                count += 1;
                Ok(())
            });
            assert!(shown.is_ok() && count > 0, "{shown:?} of {snapshot:?}");
        }
    }
    let text = |error: snapshotter::Error| error.to_string();
    Seen { listed: listed.map_err(text), verified: verified.map_err(text) }
}

fn compare(listing: &Listing, verification: &Verification, length: u64) {
    let mut position = 0;
    for snapshot in &listing.snapshots {
        assert!(position <= snapshot.offset && snapshot.offset < snapshot.end() && snapshot.end() <= length);
        position = snapshot.end();
    }
    assert!(listing.end.is_some() || !listing.problems.is_empty(), "no end, and no problem");
    assert!(listing.end.is_none_or(|end| position <= end && end + 1024 <= length), "{:?}", listing.end);
    let behind = match listing.tail {
        Tail::Nothing => 0,
        Tail::Zeros(bytes) | Tail::Remains(bytes) => bytes,
        Tail::Foreign(offset) => length - offset,
    };
    assert!(behind <= length, "{:?}", listing.tail);
    assert!(verification.problems.len() >= listing.problems.len());
    assert!(verification.problems.iter().all(|problem| problem.offset <= length));
    assert!(verification.snapshots.len() >= listing.snapshots.len());
    assert!(verification.bytes() <= length, "{} of {length} bytes", verification.bytes());
    let sound = verification.snapshots.iter().all(|snapshot| snapshot.ok);
    assert!(sound || !verification.problems.is_empty(), "damaged, and no problem");
    assert!(!listing.problems.is_empty() || sound == verification.problems.is_empty());
}
