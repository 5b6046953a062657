//! Images: what is here, what a registry has, pull and build.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bollard::errors::Error as Api;
use bollard::models::{BuildInfo, BuildInfoAux, CreateImageInfo, ImageInspect};
use bollard::query_parameters::{BuildImageOptions, BuilderVersion, CreateImageOptions, TagImageOptions};
use clos_domain::seams::Images;
use clos_domain::seams::engine::{Error, OnProgress, Progress};
use clos_domain::text::without_nul;
use clos_domain::workload::{Build, Image};
use futures::{Stream, StreamExt as _};

use crate::call::{Effect, Fault, fault, within};
use crate::context::Context;
use crate::docker::Docker;
use crate::{credentials, deadline, labels, name};

/// The last lines of a build that failed.
const LAST_WORDS: usize = 12;

/// Tells the sessions of this process apart.
static SESSIONS: AtomicU64 = AtomicU64::new(0);

impl Docker {
    /// The id that an image's name means now.
    pub(crate) async fn image(&self, image: &str) -> Result<(String, Vec<String>), Error> {
        let found = self.inspected(name::check_image(image)?).await?;
        let declared = found.config.and_then(|config| config.volumes).unwrap_or_default();
        Ok((found.id.unwrap_or_default(), declared.into_iter().collect()))
    }

    async fn inspected(&self, image: &str) -> Result<ImageInspect, Error> {
        let what = format!("inspect image `{image}`");
        let call = self.client().inspect_image(image);
        match within(deadline::READ, &what, Effect::Reads, call).await {
            Ok(found) => Ok(found),
            Err(Fault::Answer { status: 404, .. }) => Err(Error::NoImage(image.to_owned())),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn build_options(
        &self,
        image: &str,
        build: &Build,
        context: &Context,
    ) -> Result<BuildImageOptions, Error> {
        let buildkit = self.facts().await?.info.buildkit;
        // A build argument without a value takes the builder's own environment, which is the
        // daemon's and not the user's: it is left to the Dockerfile's default.
        let args: HashMap<String, String> =
            build.args.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect();
        let hosts: Vec<String> =
            build.extra_hosts.iter().map(|(host, address)| format!("{host}:{address}")).collect();
        let mut labels: HashMap<String, String> = build.labels.clone().into_iter().collect();
        if !build.digest.is_empty() {
            labels.insert(labels::BUILD_DIGEST.to_owned(), build.digest.clone());
        }
        let shm = build.shm_size.map(i32::try_from).transpose();
        let shm = shm.map_err(|_| Error::Refused("build.shm_size: more than 2 GiB".into()))?;
        Ok(BuildImageOptions {
            dockerfile: context.dockerfile.clone(),
            t: Some(name::with_tag(image)),
            extrahosts: (!hosts.is_empty()).then(|| hosts.join(",")),
            nocache: build.no_cache,
            cachefrom: (!build.cache_from.is_empty()).then(|| build.cache_from.clone()),
            pull: build.pull.then(|| "1".to_owned()),
            rm: true,
            forcerm: true,
            buildargs: (!args.is_empty()).then_some(args),
            shmsize: shm,
            labels: (!labels.is_empty()).then_some(labels),
            networkmode: build.network.clone(),
            platform: build.platform.clone().unwrap_or_default(),
            target: build.target.clone().unwrap_or_default(),
            version: if buildkit { BuilderVersion::BuilderBuildKit } else { BuilderVersion::BuilderV1 },
            session: buildkit.then(session),
            ..BuildImageOptions::default()
        })
    }
}

fn session() -> String {
    format!("clos-{}-{}", std::process::id(), SESSIONS.fetch_add(1, Ordering::Relaxed))
}

#[async_trait]
impl Images for Docker {
    async fn find(&self, image: &str) -> Result<Option<Image>, Error> {
        let image = name::check_image(image)?;
        match self.inspected(image).await {
            Ok(found) => {
                let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
                let build_digest = labels.get(labels::BUILD_DIGEST).cloned();
                Ok(Some(Image { id: found.id.unwrap_or_default(), build_digest }))
            }
            Err(Error::NoImage(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn resolvable(&self, image: &str) -> Result<(), Error> {
        let image = name::with_tag(name::check_image(image)?);
        let credentials = credentials::for_image(self.config_dir(), &image).await;
        let what = format!("ask the registry for `{image}`");
        let call = self.client().inspect_registry_image(&image, credentials);
        match within(deadline::REGISTRY, &what, Effect::Reads, call).await {
            Ok(_) => Ok(()),
            // The engine's own no, or that it cannot reach the registry: a pull would fare no better.
            Err(Fault::Answer { message, .. }) => Err(Error::PullRefused { image, why: message }),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn pull(&self, image: &str, platform: Option<&str>, progress: OnProgress<'_>) -> Result<(), Error> {
        let image = name::with_tag(name::check_image(image)?);
        let credentials = credentials::for_image(self.config_dir(), &image).await;
        let options = CreateImageOptions {
            from_image: Some(image.clone()),
            platform: platform.unwrap_or_default().to_owned(),
            ..CreateImageOptions::default()
        };
        let what = format!("pull `{image}`");
        let mut layers = Layers::default();
        let mut lines = std::pin::pin!(self.client().create_image(Some(options), None, credentials));
        while let Some(line) = next(&mut lines, deadline::PULL_IDLE, &what).await? {
            match line {
                Ok(line) => progress(layers.take(line)),
                Err(error) => {
                    return Err(match fault(&what, Effect::Changes, &error) {
                        Fault::Answer { message: why, .. } | Fault::Seam(Error::Failed(why)) => {
                            Error::PullRefused { image, why }
                        }
                        Fault::Seam(error) => error,
                    });
                }
            }
        }
        Ok(())
    }

    async fn build(&self, image: &str, build: &Build, progress: OnProgress<'_>) -> Result<(), Error> {
        let image = name::check_image(image)?;
        let failed = |why: String| Error::BuildFailed { image: image.to_owned(), why };
        let context = Context::open(build).await.map_err(failed)?;
        let unread = context.unread();
        let options = self.build_options(image, build, &context).await?;
        let is_buildkit = options.version == BuilderVersion::BuilderBuildKit;
        let context = if is_buildkit { context.without_ignore() } else { context };
        let credentials = credentials::all(self.config_dir()).await;
        let what = format!("build `{image}`");
        let body = bollard::body_try_stream(context.stream());
        let mut words = Words::default();
        {
            let mut lines = std::pin::pin!(self.client().build_image(options, Some(credentials), Some(body)));
            while let Some(line) = next(&mut lines, deadline::BUILD_IDLE, &what).await? {
                match line {
                    Ok(line) => {
                        let error = line.error_detail.as_ref().and_then(|detail| detail.message.clone());
                        words.take(line, progress);
                        if let Some(error) = error {
                            return Err(failed(words.last(&error, is_buildkit)));
                        }
                    }
                    Err(error) => {
                        // The engine only sees that the context ends.
                        if let Some(why) = unread.get() {
                            return Err(failed(words.last(why, is_buildkit)));
                        }
                        return Err(match fault(&what, Effect::Changes, &error) {
                            Fault::Answer { message, .. } | Fault::Seam(Error::Failed(message)) => {
                                failed(words.last(&message, is_buildkit))
                            }
                            Fault::Seam(error) => error,
                        });
                    }
                }
            }
        }
        // A build whose stream ended without an image has failed without saying so.
        self.image(image).await.map_err(|_| failed(words.last("the engine made no image", is_buildkit)))?;
        for tag in &build.tags {
            self.tag(image, tag).await?;
        }
        Ok(())
    }
}

impl Docker {
    async fn tag(&self, image: &str, tag: &str) -> Result<(), Error> {
        let full = name::with_tag(name::check_image(tag)?);
        let (repository, tag) = full.rsplit_once(':').unwrap_or((&full, "latest"));
        let options = TagImageOptions { repo: Some(repository.to_owned()), tag: Some(tag.to_owned()) };
        let what = format!("tag `{image}` as `{full}`");
        let call = self.client().tag_image(image, Some(options));
        within(deadline::RESOURCE, &what, Effect::Changes, call).await.map_err(Error::from)
    }
}

async fn next<T>(
    lines: &mut (impl Stream<Item = Result<T, Api>> + Unpin),
    idle: Duration,
    what: &str,
) -> Result<Option<Result<T, Api>>, Error> {
    tokio::time::timeout(idle, lines.next())
        .await
        .map_err(|_| Error::UnknownOutcome(format!("{what} (not a word within {idle:?})")))
}

/// How far the layers of a pull are.
#[derive(Default)]
struct Layers {
    bytes: BTreeMap<String, (u64, u64)>,
}

impl Layers {
    fn take(&mut self, line: CreateImageInfo) -> Progress {
        let part = line.id.unwrap_or_default();
        let message = line.status.unwrap_or_default();
        let detail = line.progress_detail.unwrap_or_default();
        let number =
            |value: Option<i64>| value.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
        match message.as_str() {
            // Extraction counts the same bytes a second time.
            "Downloading" => {
                self.bytes.insert(part.clone(), (number(detail.current), number(detail.total)));
            }
            "Download complete" | "Pull complete" => {
                if let Some((current, total)) = self.bytes.get_mut(&part) {
                    *current = *total;
                }
            }
            _ => {}
        }
        let (current, total) =
            self.bytes.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        Progress { part, message, current, total }
    }
}

/// What a build says, and its last words.
#[derive(Default)]
struct Words {
    lines: VecDeque<String>,
    done: u64,
    seen: u64,
}

impl Words {
    fn take(&mut self, line: BuildInfo, progress: OnProgress<'_>) {
        if let Some(BuildInfoAux::BuildKit(status)) = line.aux {
            for vertex in status.vertexes {
                if vertex.completed.is_some() {
                    self.done += 1;
                } else if vertex.started.is_some() {
                    self.seen += 1;
                }
                self.say(&vertex.name, progress);
                if !vertex.error.is_empty() {
                    self.say(&vertex.error, progress);
                }
            }
            for log in status.logs {
                for text in String::from_utf8_lossy(&log.msg).lines() {
                    self.say(text, progress);
                }
            }
            return;
        }
        for text in line.stream.unwrap_or_default().lines() {
            if let Some((step, of)) = step_of(text) {
                (self.done, self.seen) = (step.saturating_sub(1), of);
            }
            self.say(text, progress);
        }
        if let Some(status) = line.status {
            self.say(&status, progress);
        }
    }

    fn say(&mut self, text: &str, progress: OnProgress<'_>) {
        let text = &*without_nul(text.trim());
        if text.is_empty() || self.lines.back().is_some_and(|last| last == text) {
            return;
        }
        if self.lines.len() == LAST_WORDS {
            self.lines.pop_front();
        }
        self.lines.push_back(text.to_owned());
        let total = self.seen.max(self.done);
        progress(Progress { part: String::new(), message: text.to_owned(), current: self.done, total });
    }

    /// The error with what was said before it.
    fn last(&self, error: &str, is_buildkit: bool) -> String {
        let error = &*without_nul(error.trim());
        let mut said: Vec<&str> =
            self.lines.iter().map(String::as_str).filter(|line| *line != error).collect();
        said.push(error);
        let mut text = said.join("\n");
        if !is_buildkit
            && (error.contains("Unknown flag: mount")
                || error.contains("the --mount option requires BuildKit"))
        {
            text.push_str("\nthis engine has no BuildKit, which `RUN --mount` needs: update the engine");
        }
        text
    }
}

/// `Step 2/5 : RUN …`
fn step_of(text: &str) -> Option<(u64, u64)> {
    let (numbers, _) = text.strip_prefix("Step ")?.split_once(' ')?;
    let (step, of) = numbers.split_once('/')?;
    Some((step.parse().ok()?, of.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bollard::models::ProgressDetail;

    use super::*;

    fn layer(id: &str, status: &str, bytes: Option<(i64, i64)>) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: bytes
                .map(|(current, total)| ProgressDetail { current: Some(current), total: Some(total) }),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn the_bytes_of_all_layers_are_one_progress() {
        let mut layers = Layers::default();
        layers.take(layer("a", "Downloading", Some((10, 100))));
        let both = layers.take(layer("b", "Downloading", Some((5, 50))));
        assert_eq!((both.current, both.total), (15, 150));
        layers.take(layer("a", "Download complete", None));
        let extracting = layers.take(layer("a", "Extracting", Some((1, 100))));
        assert_eq!((extracting.current, extracting.total), (105, 150));
        assert_eq!((extracting.part.as_str(), extracting.message.as_str()), ("a", "Extracting"));
    }

    #[test]
    fn the_last_words_of_a_build_end_with_its_error() {
        let told = Mutex::new(Vec::new());
        let progress = |one: Progress| told.lock().unwrap().push(one);
        let mut words = Words::default();
        for step in 1..=20 {
            let stream = Some(format!("Step {step}/20 : RUN make {step}\n"));
            words.take(BuildInfo { stream, ..BuildInfo::default() }, &progress);
        }
        let text = words.last("exit code: 2", true);
        assert!(text.ends_with("Step 20/20 : RUN make 20\nexit code: 2"), "{text}");
        assert_eq!(text.lines().count(), LAST_WORDS + 1);
        let told = told.lock().unwrap();
        assert_eq!((told.last().unwrap().current, told.last().unwrap().total), (19, 20));
    }

    #[test]
    fn a_mount_on_an_engine_without_buildkit_says_what_is_needed() {
        let words = Words::default();
        let error = "dockerfile parse error line 2: Unknown flag: mount";
        assert!(words.last(error, false).contains("needs: update the engine"));
        assert_eq!(words.last(error, true), error);
    }
}
