//! Builds the XDP programs into skeletons.

use libbpf_cargo::SkeletonBuilder;
use std::env;
use std::path::{Path, PathBuf};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo:rerun-if-env-changed=FEEDPLANE_CLANG");
    for program in ["steer", "traffic"] {
        let source = format!("src/bpf/{program}.bpf.c");
        println!("cargo:rerun-if-changed={source}");
        let result = SkeletonBuilder::new()
            .source(&source)
            .clang(clang())
            .clang_args(clang_args())
            .build_and_generate(out.join(format!("{program}.skel.rs")));
        if let Err(error) = result {
            eprintln!("{source} does not build: {error:#}");
            eprintln!(
                "needed: clang (Debian: clang-19; another by FEEDPLANE_CLANG), libelf-dev, linux-libc-dev"
            );
            std::process::exit(1);
        }
    }
}

/// The compiler: as asked, else version 19, else what there is.
fn clang() -> String {
    if let Ok(asked) = env::var("FEEDPLANE_CLANG") {
        return asked;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|folder| folder.join("clang-19").is_file());
    if found { "clang-19".into() } else { "clang".into() }
}

/// The kernel's `asm/` headers stand in a folder that clang does not search when it builds for `bpf`.
fn clang_args() -> Vec<String> {
    let mut args: Vec<String> =
        ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-mcpu=v3"].map(String::from).into();
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let headers = format!("/usr/include/{arch}-linux-gnu");
    if Path::new(&headers).is_dir() {
        args.push(format!("-I{headers}"));
    }
    args
}
