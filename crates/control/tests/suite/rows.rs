//! Rows by API: services and groups are created, read, changed, deleted; etags, cycles, graph.

use clos_domain::Reason;
use clos_domain::event::types;
use clos_domain::group;
use clos_domain::name::{GroupRef, ServiceName};
use clos_domain::page::Request as Page;
use clos_domain::seams::store::ServiceFilter;
use clos_domain::service::{Condition, Definition, Dependency, Observed, Status};

use crate::bed::{Bed, assert_completed, assert_refused, request};

fn named(name: &str) -> Definition {
    Definition::of_image(ServiceName::parse("name", name).unwrap(), "app")
}

fn needing(name: &str, needs: &str) -> Definition {
    let mut definition = named(name);
    definition.depends_on = vec![Dependency {
        service: ServiceName::parse("name", needs).unwrap(),
        condition: Condition::Started,
        required: true,
        restart: false,
    }];
    definition
}

fn shop() -> GroupRef {
    GroupRef::parse("group", "shop").unwrap()
}

#[tokio::test]
async fn a_service_is_made_with_its_group_and_nothing_starts() {
    let bed = Bed::new().await;
    let service = bed.control.services().create(&bed.ctx, &shop(), named("web")).await.unwrap();
    assert_eq!((service.status, service.observed), (Status::Stopped, Observed::Absent));
    assert_eq!(bed.groups().await, ["shop"]);
    assert_eq!(bed.engine.calls("create", "shop-web-1"), 0);
    for name in [service.id.as_str(), "shop/web"] {
        assert_eq!(bed.service(name).await.id, service.id);
    }
    let again = bed.control.services().create(&bed.ctx, &shop(), named("web")).await;
    assert_refused(again, Reason::ServiceExists, "shop/web");
    let start = bed.control.services().start(&bed.ctx, "shop/web", true).await.unwrap();
    assert_completed(&bed.ended(&start).await);
    let page = bed
        .control
        .services()
        .list(
            &bed.ctx,
            &ServiceFilter { status: vec![Status::Running], ..ServiceFilter::default() },
            &Page::ALL,
        )
        .await
        .unwrap();
    assert_eq!(page.total, 1);
}

#[tokio::test]
async fn what_a_service_needs_must_be_there_and_not_in_a_circle() {
    let bed = Bed::new().await;
    let services = bed.control.services();
    assert_refused(
        services.create(&bed.ctx, &shop(), needing("web", "db")).await,
        Reason::UnknownDependency,
        "db",
    );
    assert_eq!(bed.groups().await, Vec::<String>::new(), "the group was not made either");
    services.create(&bed.ctx, &shop(), named("db")).await.unwrap();
    services.create(&bed.ctx, &shop(), needing("web", "db")).await.unwrap();
    let circle = services.update(&bed.ctx, "shop/db", None, needing("db", "web")).await;
    assert_refused(circle, Reason::DependencyCycle, "web");
    let itself = services.create(&bed.ctx, &shop(), needing("self", "self")).await;
    assert_refused(itself, Reason::DependencyCycle, "self");
    assert_refused(
        services.delete(&bed.ctx, "shop/db", None, false).await,
        Reason::DependantsRunning,
        "shop/web",
    );
}

#[tokio::test]
async fn a_change_on_an_older_sight_is_refused() {
    let bed = Bed::new().await;
    let services = bed.control.services();
    let first = services.create(&bed.ctx, &shop(), named("web")).await.unwrap();
    let seen = clos_control::etag::service(&first);
    let mut changed = named("web");
    changed.description = "the shop window".into();
    let second = services.update(&bed.ctx, "shop/web", Some(&seen), changed.clone()).await.unwrap();
    assert_eq!(second.generation, 2);
    let same = services.update(&bed.ctx, "shop/web", None, changed.clone()).await.unwrap();
    assert_eq!(same.generation, 2, "nothing changed");
    changed.description = "another".into();
    let stale = services.update(&bed.ctx, "shop/web", Some(&seen), changed).await;
    let error = assert_refused(stale, Reason::EtagMismatch, "shop/web");
    assert_eq!(error.metadata()["etag"], clos_control::etag::service(&second));
    assert_refused(
        services.delete(&bed.ctx, "shop/web", Some(&seen), false).await,
        Reason::EtagMismatch,
        "shop/web",
    );
    let renamed = services.update(&bed.ctx, "shop/web", None, named("other")).await;
    assert_refused(renamed, Reason::InvalidField, "renamed");
}

#[tokio::test]
async fn what_is_up_is_deleted_only_by_force() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {db: {image: app}, web: {image: app}}").await);
    let services = bed.control.services();
    assert_refused(services.delete(&bed.ctx, "shop/web", None, false).await, Reason::NotDown, "force");
    services.delete(&bed.ctx, "shop/web", None, true).await.unwrap();
    assert!(!bed.engine.has("shop-web-1"));
    assert_refused(services.get(&bed.ctx, "shop/web").await, Reason::ServiceNotFound, "shop/web");

    let groups = bed.control.groups();
    assert_refused(groups.delete(&bed.ctx, "shop", None, false).await, Reason::NotDown, "shop/db");
    groups.delete(&bed.ctx, "shop", None, true).await.unwrap();
    assert_eq!(bed.groups().await, Vec::<String>::new());
    assert!(!bed.engine.has("shop-db-1"));
    let kinds: Vec<String> = bed.events().await.into_iter().map(|event| event.kind).collect();
    for wanted in [types::SERVICE_DELETED, types::GROUP_DELETED] {
        assert!(kinds.iter().any(|kind| kind == wanted), "{wanted}: {kinds:?}");
    }
}

#[tokio::test]
async fn a_delete_by_force_whose_down_fails_keeps_the_rows() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app}}").await);
    let error = clos_domain::seams::engine::Error::Failed("device is busy".into());
    bed.engine.fail_always("remove", "shop-web-1", error);
    let answer = bed.control.services().delete(&bed.ctx, "shop/web", None, true).await;
    assert_refused(answer, Reason::NotDown, "device is busy");
    bed.service("shop/web").await;
}

#[tokio::test]
async fn a_group_is_made_changed_and_refused_twice() {
    let bed = Bed::new().await;
    let groups = bed.control.groups();
    let definition = group::Definition { description: "a shop".into(), ..group::Definition::default() };
    let made = groups.create(&bed.ctx, &shop(), definition.clone()).await.unwrap();
    assert_eq!(made.group.definition.description, "a shop");
    assert_refused(groups.create(&bed.ctx, &shop(), definition.clone()).await, Reason::GroupExists, "shop");
    let seen = clos_control::etag::group(&made.group);
    let changed = group::Definition { description: "the shop".into(), ..definition };
    groups.update(&bed.ctx, "shop", Some(&seen), changed.clone()).await.unwrap();
    assert_refused(groups.update(&bed.ctx, "shop", Some(&seen), changed).await, Reason::EtagMismatch, "shop");
    let empty = groups.start(&bed.ctx, "shop", Default::default()).await;
    assert_refused(empty, Reason::NoRows, "shop");
    groups.delete(&bed.ctx, "shop", None, false).await.unwrap();
    assert_refused(groups.get(&bed.ctx, "shop").await, Reason::GroupNotFound, "shop");
}

#[tokio::test]
async fn a_name_that_is_nearly_right_is_suggested() {
    let bed = Bed::new().await;
    let mut rows = request("services: {web: {image: app}}");
    rows.start = false;
    bed.apply(rows).await.unwrap();
    assert_refused(
        bed.control.groups().get(&bed.ctx, "shpo").await,
        Reason::GroupNotFound,
        "did you mean `shop`",
    );
    let service = bed.control.services().get(&bed.ctx, "shop/wbe").await;
    assert_refused(service, Reason::ServiceNotFound, "did you mean `shop/web`");
    let nested = bed.control.services().get(&bed.ctx, "groups/shop/services/wbe").await;
    assert_refused(nested, Reason::ServiceNotFound, "did you mean `shop/web`");
    assert_refused(bed.control.services().get(&bed.ctx, "a/b/c").await, Reason::InvalidField, "b/c");
}

#[tokio::test]
async fn a_service_is_found_by_every_spelling_of_its_name() {
    let bed = Bed::new().await;
    let services = bed.control.services();
    let web = services.create(&bed.ctx, &shop(), named("web")).await.unwrap();
    let copy = GroupRef::parse("group", "shop~x").unwrap();
    services.create(&bed.ctx, &copy, named("web")).await.unwrap();
    let (id, group) = (&web.id, &web.group_id);
    for spelling in [
        id.to_string(),
        "shop/web".into(),
        format!("{group}/web"),
        "groups/shop/services/web".into(),
        format!("groups/{group}/services/web"),
        format!("groups/shop/services/{id}"),
        format!("groups/{group}/services/{id}"),
    ] {
        assert_eq!(services.get(&bed.ctx, &spelling).await.unwrap().id, web.id, "{spelling}");
    }
    let other = services.get(&bed.ctx, "groups/shop~x/services/web").await.unwrap();
    assert_eq!(other.resource().to_string(), "shop~x/web");
    let elsewhere = services.get(&bed.ctx, &format!("groups/shop~x/services/{id}")).await;
    assert_refused(elsewhere, Reason::ServiceNotFound, "shop~x");
    let unknown = services.get(&bed.ctx, "groups/grp_abcdefghijklmnopqrstuvwx23/services/web").await;
    assert_refused(unknown, Reason::ServiceNotFound, "grp_abc");
    let bad = services.get_by(&bed.ctx, "service_id", "web").await;
    assert_refused(bad, Reason::InvalidField, "service_id: `web`");
}

#[tokio::test]
async fn the_graph_shows_waves_and_the_groups_that_are_needed() {
    let bed = Bed::new().await;
    let infra = crate::bed::request_in("/home/ann/infra", "name: infra\nservices: {db: {image: app}}");
    let mut infra = infra;
    infra.start = false;
    bed.apply(infra).await.unwrap();
    let mut rows = request(
        "x-clos: {depends_on: [infra]}\nservices: {api: {image: app}, web: {image: app, depends_on: [api]}}",
    );
    rows.start = false;
    bed.apply(rows).await.unwrap();
    let graph = bed.control.groups().graph(&bed.ctx, "shop").await.unwrap();
    let waves: Vec<Vec<String>> =
        graph.waves.iter().map(|wave| wave.iter().map(ToString::to_string).collect()).collect();
    assert_eq!(waves, [vec!["infra/db"], vec!["shop/api"], vec!["shop/web"]]);
    assert!(graph.edges.iter().any(|(from, to, condition, required)| {
        from.to_string() == "shop/web"
            && to.to_string() == "shop/api"
            && *condition == Condition::Started
            && *required
    }));
    assert_eq!(graph.nodes.len(), 3);
}

#[tokio::test]
async fn a_batch_takes_every_verb() {
    use clos_domain::operation::Verb;

    let bed = Bed::new().await;
    let text = "services: {api: {image: app}, web: {image: app, depends_on: [api]}, other: {image: app}}";
    crate::bed::assert_completed(&bed.up(text).await);
    let services = bed.control.services();
    for verb in [Verb::Restart, Verb::Recreate, Verb::Stop, Verb::Start, Verb::Down] {
        let ids = ["shop/web".to_owned(), "groups/shop/services/api".to_owned()];
        let operation = services.batch(&bed.ctx, verb, &ids, None).await.unwrap();
        let ended = bed.ended(&operation).await;
        crate::bed::assert_completed(&ended);
        assert_eq!(ended.verb, verb);
        let touched: std::collections::BTreeSet<String> =
            ended.steps.iter().filter_map(|step| Some(step.service_name.as_ref()?.to_string())).collect();
        assert_eq!(touched.into_iter().collect::<Vec<_>>(), ["shop/api", "shop/web"], "{verb:?}");
    }
    for (name, status) in [("web", Status::Stopped), ("api", Status::Stopped), ("other", Status::Running)] {
        assert_eq!(bed.status(&format!("shop/{name}")).await.0, status, "{name}");
    }
}

#[tokio::test]
async fn the_services_of_a_request_are_named_in_any_way() {
    let bed = Bed::new().await;
    let text = "services: {api: {image: app}, web: {image: app}}";
    for spelling in ["web", "shop/web", "groups/shop/services/web"] {
        let only = crate::bed::request(text);
        let only = clos_control::apply::Request { services: vec![spelling.into()], ..only };
        let applied = bed.apply(only).await.unwrap();
        if let Some(operation) = applied.operation {
            crate::bed::assert_completed(&bed.ended(&operation).await);
        }
        assert_eq!(bed.status("shop/api").await.0, Status::Stopped, "{spelling}");
        assert_eq!(bed.status("shop/web").await.0, Status::Running, "{spelling}");
    }
    let elsewhere = clos_control::apply::Request { services: vec!["blog/web".into()], ..request(text) };
    assert_refused(bed.apply(elsewhere).await, Reason::InvalidField, "is not a service of group `shop`");
    let id = bed.control.services().get(&bed.ctx, "shop/web").await.unwrap().id.to_string();
    let wanted = clos_control::logs::LogRequest::default();
    assert!(bed.control.groups().logs(&bed.ctx, "shop", &[id], wanted).await.is_ok());
}

#[tokio::test]
async fn a_batch_is_of_one_group() {
    let bed = Bed::new().await;
    let services = bed.control.services();
    services.create(&bed.ctx, &shop(), named("web")).await.unwrap();
    services.create(&bed.ctx, &GroupRef::parse("group", "blog").unwrap(), named("web")).await.unwrap();
    let verb = clos_domain::operation::Verb::Start;
    let mixed = services.batch(&bed.ctx, verb, &["shop/web".into(), "blog/web".into()], None).await;
    assert_refused(mixed, Reason::InvalidField, "blog/web");
    assert_refused(services.batch(&bed.ctx, verb, &[], None).await, Reason::InvalidField, "at least one");
}
