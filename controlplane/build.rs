//! Puts the built console (`console/dist`) into the program. It never builds it: that takes Node, and a control plane must
//! compile where there is none. Without it, the program serves a page that says how to build the console.
//!
//! Writes `$OUT_DIR/console_files.rs`: an array of `(path, bytes)`, sorted by path. The bytes are copied first: the folder may be
//! built anew while the compiler reads.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let dist = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("console/dist");
    // The folder is in the repository with one hidden file, so that it always exists: a path that does not would have
    // this crate compiled each time.
    println!("cargo::rerun-if-changed=console/dist");
    println!("cargo::rerun-if-changed=build.rs");
    let mut files = Vec::new();
    if dist.join("index.html").is_file() {
        gather(&dist, &mut files)?;
    }
    files.sort();
    let out = PathBuf::from(variable("OUT_DIR")?);
    let copies = out.join("console_files");
    match fs::remove_dir_all(&copies) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(&copies)?,
    }
    let mut code = String::from("[\n");
    for (number, file) in files.iter().enumerate() {
        let name = file.strip_prefix(&dist).map_err(io::Error::other)?;
        let name =
            name.to_str().ok_or_else(|| io::Error::other("a file of the console has no UTF-8 name"))?;
        let copy = copies.join(number.to_string());
        fs::copy(file, &copy)?;
        let _ = writeln!(code, "    ({name:?}, include_bytes!({:?}) as &[u8]),", copy.display().to_string());
    }
    code.push_str("]\n");
    fs::write(out.join("console_files.rs"), code)
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|error| io::Error::other(format!("{name}: {error}")))
}

fn gather(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            gather(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
