//! Makes the decoder that table (c) compares with: `sbe_gen` over `schema/book.xml`, its files put into one.

use std::path::{Path, PathBuf};
use std::{env, error::Error, fs};

const SCHEMA: &str = "schema/book.xml";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={SCHEMA}");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let parts = out.join("book");
    sbe_gen::generate_to(&fs::read_to_string(SCHEMA)?, &parts, &sbe_gen::GeneratorOptions::default())?;
    fs::write(out.join("book.rs"), in_one_file(&parts)?)?;
    println!("cargo:rustc-env=BENCH_RUSTC={}", rustc_version()?);
    Ok(())
}

/// The generated files as inline modules: `include!` takes one file.
fn in_one_file(parts: &Path) -> Result<String, Box<dyn Error>> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(parts)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).ok_or("unreadable file name")?;
        if name != "mod" {
            names.push(name.to_owned());
        }
    }
    names.sort();
    let mut text = String::new();
    for name in names {
        let body = fs::read_to_string(parts.join(format!("{name}.rs")))?;
        text.push_str(&format!("pub mod {name} {{\n{body}\n}}\n"));
    }
    Ok(text)
}

fn rustc_version() -> Result<String, Box<dyn Error>> {
    let output = std::process::Command::new(env::var("RUSTC")?).arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
