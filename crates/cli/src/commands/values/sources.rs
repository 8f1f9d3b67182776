//! Where values come from: arguments, files and standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use berth_node::model::resource::{SecretData, SecretValue};
use berth_node::model::validate::MAX_DATA;

use super::super::usage;
use crate::args::values::Set;
use crate::exit::{Exit, Failure};

/// All values that the arguments give. A key that is given twice is an error: which of its values is meant, nobody can know.
pub(super) fn read(args: &Set, stdin: &mut dyn Read) -> Result<SecretData, Failure> {
    let dashes = args.from_env_file.iter().filter(|file| file.as_os_str() == "-").count();
    let dashes = dashes + args.from_file.iter().filter(|spec| spec.ends_with("=-") || *spec == "-").count();
    if dashes > 1 {
        return Err(usage("standard input (`-`) can be read once".to_owned()));
    }
    let mut values = SecretData::new();
    let mut add = |key: &str, value: Vec<u8>| {
        if key.is_empty() {
            return Err(usage("a key is empty: a value is given as KEY=VALUE".to_owned()));
        }
        match values.insert(key.to_owned(), SecretValue::Known(value)) {
            Some(_) => Err(usage(format!("`{key}` is given twice"))),
            None => Ok(()),
        }
    };
    for file in &args.from_env_file {
        for (key, value) in lines(&bytes(file, stdin)?, file)? {
            add(&key, value.into_bytes())?;
        }
    }
    for spec in &args.from_file {
        let (key, file) = match spec.split_once('=') {
            Some((key, file)) => (key.to_owned(), Path::new(file)),
            None => (file_name(spec)?, Path::new(spec)),
        };
        add(&key, bytes(file, stdin)?)?;
    }
    for (index, value) in args.values.iter().enumerate() {
        let pair = value.split_once('=');
        // What has no `=` may be the value itself.
        let (key, value) = pair.ok_or_else(|| usage(format!("value {} is none: write it KEY=VALUE", index + 1)))?;
        add(key, value.as_bytes().to_vec())?;
    }
    Ok(values)
}

fn file_name(spec: &str) -> Result<String, Failure> {
    let name = Path::new(spec).file_name().filter(|_| spec != "-").and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| usage(format!("`{spec}` has no name to take for a key: write KEY={spec}")))
}

/// A file's bytes, no more than an object may have.
fn bytes(file: &Path, stdin: &mut dyn Read) -> Result<Vec<u8>, Failure> {
    let from_stdin = file.as_os_str() == "-";
    let name = if from_stdin { "standard input".to_owned() } else { file.display().to_string() };
    let limit = MAX_DATA as u64 + 1;
    let mut bytes = Vec::new();
    let read = match from_stdin {
        true => stdin.take(limit).read_to_end(&mut bytes),
        false => regular(file).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
    };
    read.map_err(|error| Failure::new(Exit::Failure, format!("can't read {name}: {error}")))?;
    if bytes.len() > MAX_DATA {
        return Err(Failure::new(Exit::Refused, format!("{name} is larger than {MAX_DATA} bytes, which is all that one object holds")));
    }
    Ok(bytes)
}

fn regular(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    Ok(file)
}

/// The pairs of a file of lines KEY=VALUE. A value is all that follows the first `=`, without quotes being taken away.
fn lines(bytes: &[u8], file: &Path) -> Result<Vec<(String, String)>, Failure> {
    let wrong = |what: String| Failure::new(Exit::Refused, format!("{}: {what}", file.display()));
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("it isn't UTF-8 text".to_owned()))?;
    let mut pairs = Vec::new();
    for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| wrong(format!("line {} isn't KEY=VALUE", index + 1)))?;
        pairs.push((key.trim().to_owned(), value.to_owned()));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Namespaced, TextOrJson};

    fn set(values: &[&str], from_file: &[String], from_env_file: &[&Path]) -> Set {
        Set {
            name: "a".into(),
            values: values.iter().map(|v| (*v).to_owned()).collect(),
            from_file: from_file.to_vec(),
            from_env_file: from_env_file.iter().map(|p| p.to_path_buf()).collect(),
            replace: false,
            namespaced: Namespaced { namespace: "default".into() },
            output: TextOrJson::Text,
        }
    }

    #[test]
    fn values_come_from_arguments_files_and_standard_input() {
        let folder = tempfile::tempdir().unwrap();
        let (key, env) = (folder.path().join("tls.key"), folder.path().join("app.env"));
        std::fs::write(&key, [0xff, 0]).unwrap();
        std::fs::write(&env, "# comment\n\nA=1\n B =x=y \r\nC=\n").unwrap();
        let from_file = [key.display().to_string(), format!("other={}", key.display()), "stdin=-".to_owned()];
        let found = read(&set(&["D=a=b", "E="], &from_file, &[&env]), &mut "piped\n".as_bytes()).unwrap();
        let text = |key: &str| found[key].text().unwrap().to_owned();
        assert_eq!(["A", "B", "C", "D", "E", "stdin"].map(text), ["1", "x=y ", "", "a=b", "", "piped\n"]);
        assert_eq!((found["tls.key"].bytes(), &found["other"]), (Some(&[0xff, 0][..]), &found["tls.key"]));
    }

    #[test]
    fn what_is_wrong_is_told_without_a_value() {
        let folder = tempfile::tempdir().unwrap();
        let env = folder.path().join("app.env");
        std::fs::write(&env, "A=1\nhunter2\n").unwrap();
        let fail = |args: &Set| {
            let failure = read(args, &mut "".as_bytes()).unwrap_err();
            assert!(!failure.message.contains("hunter2"), "{}", failure.message);
            failure.message
        };
        assert!(fail(&set(&["hunter2"], &[], &[])).contains("value 1 is none"));
        assert!(fail(&set(&["=hunter2"], &[], &[])).contains("key is empty"));
        assert!(fail(&set(&["A=hunter2", "A=x"], &[], &[])).contains("`A` is given twice"));
        assert!(fail(&set(&[], &[], &[&env])).contains("app.env: line 2 isn't KEY=VALUE"));
        assert!(fail(&set(&[], &["a=-".into(), "b=-".into()], &[])).contains("once"));
        assert!(fail(&set(&[], &["-".into()], &[])).contains("KEY=-"));
        assert!(fail(&set(&[], &[format!("a={}", folder.path().display())], &[])).contains("folder"));
        let large = folder.path().join("large");
        std::fs::write(&large, vec![b'x'; MAX_DATA + 1]).unwrap();
        assert!(fail(&set(&[], &[large.display().to_string()], &[])).contains("larger than 1048576 bytes"));
    }
}
