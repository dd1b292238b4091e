//! AWS's own files: `~/.aws/credentials` and `~/.aws/config`, as its command line reads them. Only keys and
//! regions that stand there are taken; what asks another program or a login in a browser is not.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::store::settings::Settings;

/// What a profile says, by the names of its lines.
pub(crate) type Profile = BTreeMap<String, String>;

/// The profile `name`, else that of `AWS_PROFILE`, else `default`. `None` where no file has it.
pub(crate) fn find(settings: &Settings, name: Option<&str>) -> Option<Profile> {
    let chosen = name.map(str::to_owned).or_else(|| settings.first(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]));
    let chosen = chosen.as_deref().unwrap_or("default");
    let home = settings.path("HOME").map(|home| home.join(".aws"));
    let file = |variable, name| -> Option<String> {
        let path: PathBuf = settings.path(variable).or_else(|| Some(home.as_ref()?.join(name)))?;
        fs::read_to_string(path).ok()
    };
    let section = if chosen == "default" { chosen.to_owned() } else { format!("profile {chosen}") };
    let mut found: Option<Profile> = None;
    // The credentials win where both files say something.
    for (text, section) in [
        (file("AWS_CONFIG_FILE", "config"), section.as_str()),
        (file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), chosen),
    ] {
        if let Some(profile) = text.and_then(|text| read(&text, section)) {
            found.get_or_insert_default().extend(profile);
        }
    }
    found
}

/// The lines of a section. Lines that are indented belong to a nested setting, and are left out.
fn read(text: &str, section: &str) -> Option<Profile> {
    let mut profile = None;
    for line in text.lines() {
        if line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.trim().strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            if profile.is_some() {
                break;
            }
            profile = (name.trim() == section).then(Profile::new);
        } else if let (Some(profile), Some((name, value))) = (&mut profile, line.split_once('='))
            && !line.starts_with([' ', '\t'])
        {
            profile.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    profile
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_from_both_files() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        let config =
            "[default]\nregion = eu-1\n[profile other]\nregion=eu-2\ns3 =\n  aws_access_key_id = nested\n";
        fs::write(home.path().join(".aws/config"), config).unwrap();
        let keys = "# comment\n[default]\naws_access_key_id = A\naws_secret_access_key = a=b=\n\n[other]\naws_access_key_id=B\n";
        fs::write(home.path().join(".aws/credentials"), keys).unwrap();
        let settings = Settings::table([("HOME", home.path().to_str().unwrap())]);
        let default = find(&settings, None).unwrap();
        assert_eq!((&*default["region"], &*default["aws_access_key_id"]), ("eu-1", "A"));
        assert_eq!(default["aws_secret_access_key"], "a=b=");
        let other = find(&settings.clone().with("AWS_PROFILE", "other"), None).unwrap();
        assert_eq!((&*other["region"], &*other["aws_access_key_id"]), ("eu-2", "B"));
        assert!(find(&settings, Some("none")).is_none());
    }
}
