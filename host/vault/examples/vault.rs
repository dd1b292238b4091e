//! Encodes or decodes as a program of its own would, for measuring and for trying things out:
//!
//!     vault encode backup.tar.zst.age RECIPIENTS <backup.tar >backup.tar.zst.age
//!     vault decode backup.tar.zst.age IDENTITIES <backup.tar.zst.age >backup.tar
//!
//! The name says how. The last argument is a file: recipients or identities of age, a passphrase for OpenPGP.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use snapshotter_vault::encode::{
    Decoder, Encoder, Encoding, Encryption, KeySource, Keys, Seal, age, openpgp,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (work, name) = match arguments.get(..2) {
        Some([work, name]) => (work.as_str(), name),
        _ => bail!("usage: vault encode|decode NAME [KEYS]"),
    };
    let encoding = Encoding::from_name(name).context("the name is no encoded archive's")?;
    let source = arguments.get(2).map(|path| KeySource::File(PathBuf::from(path)));
    match work {
        "encode" => encode(encoding, source.as_ref()),
        "decode" => decode(encoding, source.as_ref()),
        _ => bail!("the first argument is encode or decode"),
    }
}

fn encode(encoding: Encoding, source: Option<&KeySource>) -> Result<()> {
    let given = || source.context("the file with recipients or the passphrase is missing");
    let seal = match encoding.encryption {
        Encryption::None => Seal::None,
        Encryption::Age => {
            let mut recipients = age::Recipients::new();
            recipients.add_all(given()?)?;
            Seal::Age(recipients)
        }
        Encryption::OpenPgp => {
            let mut recipients = openpgp::Recipients::new();
            recipients.set_passphrase(given()?.passphrase()?);
            Seal::OpenPgp(recipients)
        }
    };
    let mut encoder = Encoder::new(io::stdout(), encoding.compression, &seal)?;
    copy(io::stdin().lock(), &mut encoder)?;
    let (_, summary) = encoder.finish()?;
    writeln!(
        io::stderr(),
        "{} bytes in, {} out, SHA-256 {}",
        summary.bytes_in,
        summary.bytes_out,
        summary.sha256_hex()
    )?;
    Ok(())
}

fn decode(encoding: Encoding, source: Option<&KeySource>) -> Result<()> {
    let mut keys = Keys::new();
    match (encoding.encryption, source) {
        (Encryption::Age, Some(source)) => keys.add_age_identities(source)?,
        (Encryption::OpenPgp, Some(source)) => keys.set_passphrase(source.passphrase()?),
        _ => {}
    }
    let decoder = Decoder::new(io::stdin(), encoding, &keys)?;
    let mut out = io::stdout().lock();
    copy(decoder, &mut out)?;
    out.flush()?;
    Ok(())
}

/// As [`io::copy`], in blocks of 1 MiB rather than of 8 KiB.
fn copy(mut from: impl io::Read, to: &mut impl io::Write) -> Result<()> {
    let mut block = vec![0; 1 << 20];
    loop {
        match from.read(&mut block)? {
            0 => return Ok(()),
            count => to.write_all(&block[..count])?,
        }
    }
}
