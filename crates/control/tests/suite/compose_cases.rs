//! What docker compose takes, `plan` takes too: the cases that are read beside compose, through the planner.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clos_control::apply::Request;
use clos_domain::Reason;

use crate::bed::{Bed, request_in};

const HOME: &str = "/home/dev";

/// It is not on the disk or not on the engine; `docker compose up` finds that out only when it builds, mounts or joins.
const MISSING: &str = "missing";
/// It cannot be made as it is written: `docker compose up` fails too, when it creates the container.
const FAILS: &str = "fails in `docker compose up` too";
/// What compose acts on and CLOS does not.
const UNSUPPORTED: &str = "not supported";

/// What `plan` refuses on purpose though `docker compose config` takes it: the case, a part of each line that is
/// said, and why.
const REFUSED: &[(&str, &str, &str)] = &[
    ("02-shop-in-four-levels", "build.context", MISSING),
    ("08-proxy-by-labels", "network `web` of", MISSING),
    ("17-include", "monitoring/prometheus.yml does not exist", MISSING),
    ("18-extends", "services.far.build.context", MISSING),
    ("21-volumes-in-all-forms", "mounts of type `image`", UNSUPPORTED),
    ("22-secrets-and-configs", "does not exist", MISSING),
    ("23-builds", "is not a folder on this machine", UNSUPPORTED),
    ("23-builds", "additional_contexts", UNSUPPORTED),
    ("28-external-things", "is external and does not exist", MISSING),
    ("33-resources", "`cpus` says the same as `cpu_quota`", FAILS),
    ("35-legacy-links", "external_links", UNSUPPORTED),
    ("39-named-by-variable", "`d:/d` is a path of Windows to Compose", FAILS),
    ("40-named-by-environment", "`d:/d` is a path of Windows to Compose", FAILS),
    ("41-named-by-dotenv", "`d:/d` is a path of Windows to Compose", FAILS),
    ("45-three-files", "does not exist", MISSING),
    ("51-kept-extensions", "depends on `infra`, and there is no such group", MISSING),
    ("56-override-in-another-folder", "services.a.build.context", MISSING),
    ("70-mount-paths", "`rshared` is not an absolute path", FAILS),
    ("73-home-everywhere", "additional_contexts", UNSUPPORTED),
    ("74-parents-everywhere", "does not exist", MISSING),
    ("80-project-directory-of-an-include", "services.b.build.context", MISSING),
    ("85-fixed-names", "`v:/v` is a path of Windows to Compose", FAILS),
];

struct Case {
    name: String,
    folder: PathBuf,
    args: Vec<String>,
    shell: BTreeMap<String, String>,
}

impl Case {
    fn all() -> Vec<Self> {
        let mut folders: Vec<PathBuf> =
            std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        folders.into_iter().filter(|path| path.is_dir()).map(Self::open).collect()
    }

    fn open(folder: PathBuf) -> Self {
        let lines = |name: &str| {
            let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let args = lines("args");
        let pairs = lines("shell.env");
        let pairs = pairs.iter().filter_map(|line| line.split_once('='));
        let shell = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        Self { name, folder, args, shell }
    }

    fn given(&self, flag: &str) -> Vec<String> {
        let pairs = self.args.chunks_exact(2).filter(|pair| pair[0] == flag);
        pairs.map(|pair| pair[1].clone()).collect()
    }

    /// As the command line sends it. Its working folder is that of the first file, as compose has it.
    fn request(&self) -> Request {
        let mut files = self.given("-f");
        if files.is_empty() {
            let usual = ["compose.yaml", "compose.override.yaml"];
            files = usual
                .iter()
                .filter(|name| self.folder.join(name).exists())
                .map(|&name| name.into())
                .collect();
        }
        let text = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        let working_dir = self.folder.join(&files[0]).parent().unwrap().to_string_lossy().into_owned();
        let mut request = request_in(&working_dir, "");
        request.source.files = files
            .iter()
            .map(|name| {
                (self.folder.join(name).to_string_lossy().into_owned(), text(&self.folder.join(name)))
            })
            .collect();
        let env_files = match self.given("--env-file") {
            named if named.is_empty() => vec![".env".to_owned()],
            named => named,
        };
        let env_files = env_files.iter().map(|name| self.folder.join(name)).filter(|path| path.exists());
        request.source.env_files =
            env_files.map(|path| (path.to_string_lossy().into_owned(), text(&path))).collect();
        let own = self.shell.iter().filter(|(name, _)| name.starts_with("COMPOSE_"));
        request.source.variables = own.map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
        request.source.home = Some(HOME.into());
        request.group = self.given("-p").pop();
        request.profiles = self.given("--profile");
        request.dry_run = true;
        request
    }

    /// What stands in the way of it, once every image, every Dockerfile and every variable is there.
    async fn plan(&self, bed: &Bed) -> Vec<String> {
        let mut request = self.request();
        for _ in 0..5 {
            match bed.apply(request.clone()).await {
                Ok(applied) => {
                    let problems = applied.plan.problems;
                    let missing = problems.iter().filter(|problem| problem.reason == Reason::ImageNotFound);
                    let images: Vec<_> = missing.filter_map(|problem| problem.facts.get("image")).collect();
                    let dockerfiles: Vec<_> =
                        problems.iter().filter_map(|problem| problem.facts.get("dockerfile")).collect();
                    for path in &dockerfiles {
                        bed.files.write(path, "FROM scratch");
                    }
                    if images.is_empty() && dockerfiles.is_empty() {
                        return problems.iter().map(|problem| problem.message.clone()).collect();
                    }
                    images.into_iter().for_each(|image| bed.engine.add_remote_image(image));
                }
                Err(error) if error.reason() == Reason::VariablesNeeded => {
                    for name in error.variables() {
                        request.source.variables.insert(name.clone(), self.shell.get(name).cloned());
                    }
                }
                Err(error) => return error.to_string().lines().map(str::to_owned).collect(),
            }
        }
        vec!["there is no end to the questions".into()]
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("compose/tests/cases")
}

/// Writes down what is on the disk.
fn copy(bed: &Bed, folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            copy(bed, &path);
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            bed.files.write(&path.to_string_lossy(), &text);
        }
    }
}

#[tokio::test]
async fn plan_takes_what_compose_takes() {
    let bed = Bed::new().await;
    copy(&bed, &root());
    bed.files.write(&root().join(".git").to_string_lossy(), "");
    let mut unused = REFUSED.to_vec();
    let mut report = String::new();
    for case in Case::all() {
        for said in case.plan(&bed).await {
            let is_meant = |(name, words, _): &(&str, &str, &str)| *name == case.name && said.contains(words);
            if REFUSED.iter().any(is_meant) {
                unused.retain(|one| !is_meant(one));
            } else {
                report.push_str(&format!("  {}: {said}\n", case.name));
            }
        }
    }
    assert!(report.is_empty(), "compose takes what `plan` refuses:\n{report}");
    assert!(unused.is_empty(), "these are refused no more: {unused:?}");
}
