//! The images: made by the build file without any registry of images, and run as the manifests run them.

#![allow(clippy::unwrap_used)] // A test may.

use anyhow::{Result, bail, ensure};
use deployment_tests::tool_or_skip;
use deployment_tests::tools::{on_path, repository, run};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PROGRAMS: [&str; 7] = [
    "feedplane",
    "feedplane-dataplane",
    "feedplane-controlplane",
    "feedplane-features",
    "feedplane-strategy",
    "feedplane-gateway",
    "feedplane-archiver",
];
/// What podman says when the packages of the base cannot be had here.
const UNREACHED: [&str; 3] = ["Unable to fetch", "Failed to fetch", "Unable to locate package"];

/// A store of images of this test alone.
struct Store {
    folder: tempfile::TempDir,
}

impl Store {
    /// What is needed to build and to run, or why it is not there.
    fn new() -> Result<Store> {
        for tool in ["podman", "runc", "unshare", "apt-get", "dpkg-deb", "strip"] {
            on_path(tool)?;
        }
        let folder = tempfile::Builder::new().prefix("feedplane-images-").tempdir()?;
        ensure!(is_root(), "not root: images cannot be built with --isolation=chroot");
        Ok(Store { folder })
    }

    fn options(&self) -> [String; 2] {
        ["root", "runroot"].map(|what| format!("--{what}={}", self.folder.path().join(what).display()))
    }

    /// Builds an image; whether it could be had.
    fn build(&self, image: &str, programs: &Path) -> Result<()> {
        let mut script = alone(&repository().join("k8s/images/build.sh"));
        for option in self.options() {
            script.args(["--podman", &option]);
        }
        script.arg("--programs").arg(programs).arg(image).env("TMPDIR", self.folder.path());
        if std::env::var_os("FEEDPLANE_TRAINER_PYTHON").is_none() {
            script.env("FEEDPLANE_TRAINER_PYTHON", repository().join(".venv-trainer/bin/python"));
        }
        match run(&mut script) {
            Err(error) if UNREACHED.iter().any(|said| error.to_string().contains(said)) => {
                bail!("the Debian packages of the images cannot be had here")
            }
            built => built.map(drop),
        }
    }

    /// Runs a container as the manifests do: no network, nothing writable but /tmp, no capability.
    fn run(&self, image: &str, options: &[&str], command: &[&str]) -> Result<String> {
        let image = format!("localhost/{image}:{}", env!("CARGO_PKG_VERSION"));
        let documents = format!("{}:/etc/feedplane:ro", repository().join("k8s/base/documents").display());
        let mut podman = alone(Path::new("podman"));
        podman
            .args(self.options())
            .args(["--runtime", "runc", "run", "--rm", "--network=none", "--read-only", "--tmpfs=/tmp"])
            .args(["--ulimit", "nofile=1024:20000", "--ulimit", "nproc=1024:20000", "--cap-drop=all"])
            .args(["--volume", &documents])
            .args(options)
            .arg(image)
            .args(command);
        run(&mut podman)
    }
}

/// What tidies up after the last container may still be writing for a moment.
impl Drop for Store {
    fn drop(&mut self) {
        for _ in 0..50 {
            let removed = std::fs::remove_dir_all(self.folder.path());
            if removed.is_ok() && !self.folder.path().exists() {
                std::thread::sleep(Duration::from_millis(200));
            }
            if !self.folder.path().exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A command with mounts of its own: podman's end with it, however it ends, and the store's folder can be removed.
fn alone(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.arg("--mount").arg(program);
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// The folder of the programs that were built with this test.
fn programs() -> Result<PathBuf> {
    let folder = pipeline_tests::service::program(PROGRAMS[0])?.with_file_name("");
    for program in PROGRAMS {
        ensure!(folder.join(program).exists(), "{program} is not built (cargo build --workspace)");
    }
    Ok(folder)
}

#[test]
fn the_image_is_built_and_every_program_in_it_runs_as_nobody_and_takes_its_sample_document() {
    let (store, programs) = (tool_or_skip!(Store::new()), tool_or_skip!(programs()));
    tool_or_skip!(store.build("feedplane", &programs));
    for program in PROGRAMS {
        let said = store.run("feedplane", &[], &[program, "--version"]).unwrap();
        assert_eq!(said.trim(), format!("{program} {}", env!("CARGO_PKG_VERSION")));
    }
    for service in ["dataplane", "features", "strategy", "gateway", "archiver", "controlplane"] {
        let document = format!("/etc/feedplane/{service}.yaml");
        let program = format!("feedplane-{service}");
        store.run("feedplane", &[], &[&program, "--config", &document, "--check"]).unwrap();
    }
    // The init container, with the rights of the manifest: it finds everything but the interfaces, which are not here.
    let rights =
        ["--user=0", "--cap-add=BPF,NET_ADMIN,NET_RAW,IPC_LOCK", "--security-opt=seccomp=unconfined"];
    let check = ["feedplane", "check", "--config", "/etc/feedplane/dataplane.yaml"];
    let said = store.run("feedplane", &rights, &check).unwrap_err().to_string();
    assert!(said.contains("there is no interface \"eth1\""), "{said}");
    let finding = |of: &str| said.lines().find(|line| line.contains(of)).unwrap_or_default().to_owned();
    for of in ["capabilities", "load XDP program", "open AF_XDP socket"] {
        assert!(finding(of).starts_with("ok "), "{said}");
    }
    let shell = store.run("feedplane", &[], &["/bin/sh", "-c", "true"]);
    assert!(shell.is_err(), "there is no shell in the image");
}

#[test]
fn the_trainers_image_is_built_and_has_all_that_the_trainer_needs() {
    let store = tool_or_skip!(Store::new());
    if !repository().join(".venv-trainer/bin/python").exists()
        && std::env::var_os("FEEDPLANE_TRAINER_PYTHON").is_none()
    {
        eprintln!("SKIPPED: no .venv-trainer (scripts/setup.sh)");
        return;
    }
    tool_or_skip!(store.build("feedplane-trainer", Path::new("/nonexistent")));
    let imports =
        "import lightgbm, onnx, onnxruntime, psycopg, polars, matplotlib.pyplot, scipy.stats, ssl, zoneinfo";
    let load =
        "from feedplane_trainer.document import load; print(load(Path('/etc/feedplane/train.yaml'))[0].name)";
    let script = format!("from pathlib import Path\n{imports}\n{load}");
    let python = ["--entrypoint=/usr/bin/python3"];
    assert_eq!(store.run("feedplane-trainer", &python, &["-c", &script]).unwrap().trim(), "mid");
    // As the manifest starts it; there is no database here, and it says so.
    let train = ["train", "--config", "/etc/feedplane/train.yaml", "--dry-run"];
    let error = store.run("feedplane-trainer", &[], &train).unwrap_err().to_string();
    assert!(error.contains("the database cannot be asked"), "{error}");
}
