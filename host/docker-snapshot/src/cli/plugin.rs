//! How the docker CLI starts its plugins. For `docker --context c snapshot volumes` it runs `docker-snapshot
//! --context c snapshot volumes`: with all that it was given, the name of the plugin too. Started by hand
//! there is no such name.

use std::ffi::OsString;

/// What the docker CLI asks a plugin before it lists or runs it.
pub(crate) const METADATA: &str = "docker-cli-plugin-metadata";

/// The flags of the docker CLI that stand in front of a command and have a value in the next argument.
const WITH_VALUE: &[&str] = &[
    "--config",
    "-c",
    "--context",
    "-H",
    "--host",
    "-l",
    "--log-level",
    "--tlscacert",
    "--tlscert",
    "--tlskey",
];

/// The name under which the docker CLI runs this program.
const NAME: &str = "snapshot";

/// The command line without the plugin's name in front of the command. No command of ours has that name.
pub(crate) fn without_its_name(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = arguments.collect();
    if let Some(at) = first_word(&arguments)
        && arguments[at] == NAME
    {
        arguments.remove(at);
    }
    arguments
}

/// The place of the first argument that is neither a flag nor a flag's value.
fn first_word(arguments: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while let Some(argument) = arguments.get(at) {
        if !argument.as_encoded_bytes().starts_with(b"-") {
            return Some(at);
        }
        at += if WITH_VALUE.iter().any(|flag| argument == flag) { 2 } else { 1 };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(line: &str) -> String {
        let arguments = without_its_name(line.split(' ').map(OsString::from));
        arguments.join(" ".as_ref()).into_string().unwrap()
    }

    #[test]
    fn the_name_goes_only_where_the_command_would_stand() {
        assert_eq!(stripped("docker-snapshot snapshot install"), "docker-snapshot install");
        assert_eq!(stripped("docker-snapshot --json snapshot install"), "docker-snapshot --json install");
        assert_eq!(
            stripped("docker-snapshot -D --context snapshot --host=h snapshot volumes"),
            "docker-snapshot -D --context snapshot --host=h volumes"
        );
        assert_eq!(stripped("docker-snapshot install"), "docker-snapshot install");
        assert_eq!(stripped("docker-snapshot install snapshot"), "docker-snapshot install snapshot");
        assert_eq!(stripped("docker-snapshot snapshot snapshot"), "docker-snapshot snapshot");
        assert_eq!(stripped("docker-snapshot"), "docker-snapshot");
        assert_eq!(stripped("docker-snapshot --version"), "docker-snapshot --version");
    }
}
