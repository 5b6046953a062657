//! Who may have what a spec asks of this machine: one rule for compose files and for the API.

use clos_domain::ctx::Principal;
use clos_domain::group;
use clos_domain::name::{GroupRef, ServiceName};
use clos_domain::service::Definition;
use clos_domain::workload::{Build, Container, Mount, MountKind, Run, Volume};
use clos_domain::{Ctx, Error, Reason};

use crate::bed::{Bed, FOLDER, assert_completed, assert_refused, request};

fn of(container: Container) -> Definition {
    let mut definition = Definition::of_image(ServiceName::parse("name", "web").unwrap(), "app");
    definition.run = Run::Container(Box::new(Container { image: "app".into(), ..container }));
    definition
}

fn bind(source: &str) -> Mount {
    Mount::new(MountKind::Bind, Some(source.into()), "/x")
}

fn shop() -> GroupRef {
    GroupRef::parse("group", "shop").unwrap()
}

fn over_tcp(bed: &Bed) -> Ctx {
    Ctx { principal: Principal::TokenBearer, ..bed.ctx.clone() }
}

fn fields(error: &Error) -> Vec<&str> {
    error.violations().iter().map(|one| one.field.as_str()).collect()
}

/// A spec, why it is refused, and the field that is named.
fn specs() -> Vec<(Container, Reason, &'static str)> {
    let build = |context: &str, dockerfile: Option<&str>, network: Option<&str>| {
        Some(Build {
            context: context.into(),
            dockerfile: dockerfile.map(Into::into),
            network: network.map(Into::into),
            ..Build::default()
        })
    };
    let host = || Some("host".to_owned());
    let none = Container::default;
    let (right, path) = (Reason::AdmissionRefused, Reason::OutsideRoot);
    let inside = format!("{FOLDER}/web");
    vec![
        (Container { privileged: true, ..none() }, right, "docker_config.privileged"),
        (Container { network_mode: host(), ..none() }, right, "docker_config.network_mode"),
        (Container { pid: host(), ..none() }, right, "docker_config.pid"),
        (Container { ipc: host(), ..none() }, right, "docker_config.ipc"),
        (Container { uts: host(), ..none() }, right, "docker_config.uts"),
        (Container { userns_mode: host(), ..none() }, right, "docker_config.userns_mode"),
        (Container { devices: vec!["/dev/kvm".into()], ..none() }, right, "docker_config.devices[0]"),
        (Container { cap_add: vec!["ALL".into()], ..none() }, right, "docker_config.cap_add[0]"),
        (
            Container { security_opt: vec!["apparmor=unconfined".into()], ..none() },
            right,
            "docker_config.security_opt[0]",
        ),
        (
            Container { mounts: vec![bind(&format!("{FOLDER}/docker.sock"))], ..none() },
            right,
            "docker_config.volumes[0].source",
        ),
        (
            Container { mounts: vec![bind("/var/run/docker.sock")], ..none() },
            path,
            "docker_config.volumes[0].source",
        ),
        (Container { mounts: vec![bind("/etc")], ..none() }, path, "docker_config.volumes[0].source"),
        (
            Container { mounts: vec![bind("/home/ann/.ssh")], ..none() },
            path,
            "docker_config.volumes[0].source",
        ),
        (
            Container {
                mounts: vec![Mount::new(MountKind::Volume, Some("disguised".into()), "/x")],
                ..none()
            },
            path,
            "docker_config.volumes[0].source",
        ),
        (
            Container { build: build("/home/ann/lib", None, None), ..none() },
            path,
            "docker_config.build.context",
        ),
        (
            Container { build: build(&inside, Some("/home/ann/lib/Dockerfile"), None), ..none() },
            path,
            "docker_config.build.dockerfile",
        ),
        (
            Container { build: build(&inside, None, Some("host")), ..none() },
            right,
            "docker_config.build.network",
        ),
    ]
}

/// A group of a compose file, with a volume that the owner disguised and a service with the host's network.
const PROJECT: &str = "
services:
  host: {image: app, network_mode: host, volumes: ['disguised:/a']}
volumes:
  disguised: {driver_opts: {type: none, o: bind, device: /home/ann/data}}
";

async fn bed() -> Bed {
    let bed = Bed::new().await;
    for file in ["shop/web/Dockerfile", "lib/Dockerfile"] {
        bed.files.write(&format!("/home/ann/{file}"), "");
    }
    assert_completed(&bed.up(PROJECT).await);
    bed
}

#[tokio::test]
async fn a_spec_of_the_api_gets_nothing_of_the_machine_over_tcp() {
    let bed = bed().await;
    let services = bed.control.services();
    let tcp = over_tcp(&bed);
    services.create(&tcp, &shop(), of(Container::default())).await.unwrap();
    for (container, reason, field) in specs() {
        let changed = services.update(&tcp, "shop/web", None, of(container.clone())).await;
        let error = assert_refused(changed, reason, field);
        assert_eq!(fields(&error), [field], "{error:?}");
        // Neither does a group of its own, which has no folder at all.
        if field != "docker_config.volumes[0].source" {
            let other = GroupRef::parse("group", "other").unwrap();
            let error = services.create(&tcp, &other, of(container)).await.unwrap_err();
            assert!(fields(&error)[0].starts_with("docker_config."), "{error:?}");
        }
    }
    assert_eq!(bed.groups().await, ["shop"]);
}

#[tokio::test]
async fn what_a_service_of_the_owner_has_is_not_to_be_shared_over_tcp() {
    let bed = bed().await;
    let services = bed.control.services();
    let sharing = of(Container {
        network_mode: Some("service:host".into()),
        volumes_from: vec!["host:ro".into()],
        ..Container::default()
    });
    let error = assert_refused(
        services.create(&over_tcp(&bed), &shop(), sharing.clone()).await,
        Reason::AdmissionRefused,
        "this machine's network namespace",
    );
    assert_eq!(fields(&error), ["docker_config.network_mode", "docker_config.volumes_from[0]"]);
    services.create(&bed.ctx, &shop(), sharing).await.unwrap();
}

#[tokio::test]
async fn the_owner_has_all_of_it_and_reads_so_when_it_starts() {
    let bed = bed().await;
    let services = bed.control.services();
    for (container, _, _) in specs() {
        services.create(&bed.ctx, &shop(), of(container)).await.unwrap();
        services.delete(&bed.ctx, "shop/web", None, false).await.unwrap();
    }
    let container =
        Container { privileged: true, mounts: vec![bind("/home/ann/lib")], ..Container::default() };
    services.create(&bed.ctx, &shop(), of(container)).await.unwrap();
    let operation = services.start(&bed.ctx, "shop/web", false).await.unwrap();
    for note in [
        "`shop/web`: docker_config.privileged: gives the container every right",
        "`shop/web`: docker_config.volumes[0].source: mounts /home/ann/lib, which is outside",
    ] {
        assert!(operation.message.contains(note), "{note}: {}", operation.message);
    }
    assert_completed(&bed.ended(&operation).await);
}

#[tokio::test]
async fn over_tcp_words_about_a_service_of_the_owner_may_change_and_what_it_runs_may_not() {
    let bed = bed().await;
    let services = bed.control.services();
    let mine = of(Container { privileged: true, ..Container::default() });
    services.create(&bed.ctx, &shop(), mine.clone()).await.unwrap();
    let tcp = over_tcp(&bed);
    let described = Definition { description: "the shop".into(), ..mine.clone() };
    services.update(&tcp, "shop/web", None, described.clone()).await.unwrap();
    let mut other = described;
    other.environment.insert("A".into(), "1".into());
    let changed = services.update(&tcp, "shop/web", None, other).await;
    assert_refused(changed, Reason::AdmissionRefused, "docker_config.privileged");
}

#[tokio::test]
async fn a_volume_of_a_group_is_no_way_round() {
    let bed = bed().await;
    let groups = bed.control.groups();
    let tcp = over_tcp(&bed);
    let mut volume = Volume::default();
    for (key, value) in [("type", "none"), ("o", "bind"), ("device", "/etc")] {
        volume.driver_opts.insert(key.into(), value.into());
    }
    let with = |mut definition: group::Definition| {
        definition.volumes.insert("etc".into(), volume.clone());
        definition
    };
    let name = GroupRef::parse("group", "other").unwrap();
    let made = groups.create(&tcp, &name, with(group::Definition::default())).await;
    let error = assert_refused(made, Reason::OutsideRoot, "volume `etc`: /etc is a system path");
    assert_eq!(fields(&error), ["volumes[0].driver_opts"]);
    let before = groups.get(&tcp, "shop").await.unwrap().group.definition;
    let changed = groups.update(&tcp, "shop", None, with(before.clone())).await;
    assert_eq!(fields(&changed.unwrap_err()), ["volumes[1].driver_opts"]);
    // The volume that the owner disguised stays as it is.
    let described = group::Definition { description: "the shop".into(), ..before.clone() };
    groups.update(&tcp, "shop", None, described).await.unwrap();
    groups.update(&bed.ctx, "shop", None, with(before)).await.unwrap();
}

#[tokio::test]
async fn a_compose_file_gets_the_same_answer_with_file_and_line() {
    let text = "services:
  web:
    image: app
    privileged: true
    pid: host
    cap_add: [CHOWN, SYS_ADMIN]
    volumes: ['/etc:/host', './src:/src']
  tool:
    build: {context: web, network: host}
";
    let mut bed = bed().await;
    let plan = || {
        let mut plan = request(text);
        plan.dry_run = true;
        plan
    };
    let keys = |found: &[clos_domain::error::Finding]| -> Vec<String> {
        found.iter().map(|one| format!("{}:{} {}", one.file, one.line, one.key)).collect()
    };
    let wanted = [
        "compose.yaml:4 services.web.privileged",
        "compose.yaml:5 services.web.pid",
        "compose.yaml:6 services.web.cap_add[1]",
        "compose.yaml:7 services.web.volumes[0]",
        "compose.yaml:9 services.tool.build.network",
    ];
    let planned = bed.apply(plan()).await.unwrap();
    assert!(planned.plan.problems.is_empty(), "{:?}", planned.plan.problems);
    assert_eq!(keys(&planned.findings), wanted);

    bed.ctx.principal = Principal::TokenBearer;
    let planned = bed.apply(plan()).await.unwrap();
    let reasons: Vec<_> = planned.plan.problems.iter().map(|one| one.reason).collect();
    let (right, path) = (Reason::AdmissionRefused, Reason::OutsideRoot);
    assert_eq!(reasons, [right, right, right, path, right]);
    let error = assert_refused(bed.apply(request(text)).await, right, "Unix socket");
    assert_eq!(keys(error.findings()), wanted);

    // A system folder is no project because somebody says that the file is there.
    let mut elsewhere = request("services: {web: {image: app, volumes: ['/etc/shadow:/x']}}");
    elsewhere.source.working_dir = "/etc".into();
    elsewhere.group = Some("other".into());
    assert_refused(bed.apply(elsewhere).await, path, "/etc/shadow is a system path");
}
