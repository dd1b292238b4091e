//! What a program is made for. A helper's image has nothing but one program in it: what needs another file to
//! start, or another processor, is found out before it is put there. The build script includes this file too.

/// The processor (in Docker's words) that the program in `bytes` is for, if it can be started alone.
///
/// # Errors
/// What is the matter with it.
pub(crate) fn architecture(bytes: &[u8]) -> Result<&'static str, &'static str> {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = bytes.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    };
    let place = |at: usize, length: usize| number(at, length).and_then(|number| usize::try_from(number).ok());
    // 64 bits, the least significant byte first: all that Docker's engines run on, but for one.
    if bytes.get(..6) != Some(b"\x7fELF\x02\x01") {
        return Err("it is no program for Linux");
    }
    let broken = "it is cut off";
    let (table, size, count) = (place(32, 8), place(54, 2), place(56, 2));
    let (table, size, count) = (table.ok_or(broken)?, size.ok_or(broken)?, count.ok_or(broken)?);
    for index in 0..count {
        let at = index.checked_mul(size).and_then(|offset| table.checked_add(offset)).ok_or(broken)?;
        if number(at, 4).ok_or(broken)? == u64::from(INTERPRETER) {
            return Err("it is not static: build it with scripts/build-musl.sh");
        }
    }
    match number(18, 2) {
        Some(62) => Ok("amd64"),
        Some(183) => Ok("arm64"),
        Some(243) => Ok("riscv64"),
        _ => Err("it is for a processor that is not known here"),
    }
}
