//! Containers are found by their labels, whatever they are called.

use clos_domain::Reason;
use clos_domain::operation::Verb;
use clos_domain::service::Status;

use crate::bed::{Bed, assert_completed, assert_refused, request, steps};

async fn names(bed: &Bed) -> Vec<String> {
    let mut names: Vec<String> =
        bed.world.engine.workloads.list().await.unwrap().into_iter().map(|found| found.name).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_container_name_that_comes_changes_and_goes_leaves_nothing_behind() {
    let bed = Bed::new().await;
    for (name, wanted) in [
        ("", "shop-web-1"),
        ("container_name: front", "front"),
        ("container_name: other", "other"),
        ("", "shop-web-1"),
    ] {
        let text = format!("services: {{web: {{image: app, {name}}}}}").replace(", }", "}");
        assert_completed(&bed.up(&text).await);
        assert_eq!(names(&bed).await, [wanted]);
        assert_eq!(bed.status("shop/web").await.0, Status::Running);
        assert_eq!(bed.apply(request(&text)).await.unwrap().plan.steps, []);
    }
}

#[tokio::test]
async fn down_after_a_changed_name_leaves_nothing() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app, container_name: front}}").await);
    let renamed = request("services: {web: {image: app, container_name: other}}");
    bed.control.groups().import(&bed.ctx, renamed).await.unwrap();
    let down = bed.control.groups().down(&bed.ctx, "shop", false, None).await.unwrap();
    assert_completed(&bed.ended(&down).await);
    assert_eq!(names(&bed).await, Vec::<String>::new());
}

#[tokio::test]
async fn two_services_swap_their_container_names() {
    let bed = Bed::new().await;
    let text = |a: &str, b: &str| {
        format!(
            "services: {{a: {{image: app, container_name: {a}}}, b: {{image: app, container_name: {b}}}}}"
        )
    };
    assert_completed(&bed.up(&text("one", "two")).await);
    assert_completed(&bed.up(&text("two", "one")).await);
    assert_eq!(names(&bed).await, ["one", "two"]);
    let holder = bed.world.engine.workloads.inspect("two").await.unwrap().unwrap().identity.unwrap();
    assert_eq!(holder.service.to_string(), "shop/a");
    assert_eq!(bed.apply(request(&text("two", "one"))).await.unwrap().plan.steps, []);
}

#[tokio::test]
async fn a_renamed_service_is_an_orphan_and_a_new_one() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app}}").await);
    let renamed = "services: {front: {image: app}}";
    let applied = bed.apply(request(renamed)).await.unwrap();
    assert!(applied.plan.notes.iter().any(|note| note.contains("shop/web is no longer in the files")));
    assert_completed(&bed.ended(&applied.operation.unwrap()).await);
    assert_eq!(names(&bed).await, ["shop-front-1", "shop-web-1"]);
    let mut request = request(renamed);
    request.remove_orphans = true;
    assert_completed(&bed.ended(&bed.apply(request).await.unwrap().operation.unwrap()).await);
    assert_eq!(names(&bed).await, ["shop-front-1"]);
}

#[tokio::test]
async fn a_renamed_service_with_a_fixed_name_waits_for_its_orphan_to_be_removed() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app, container_name: fixed}}").await);
    let renamed = "services: {front: {image: app, container_name: fixed}}";
    let refused = assert_refused(bed.apply(request(renamed)).await, Reason::NameTaken, "shop/web");
    assert!(refused.to_string().contains("--remove-orphans"), "{refused}");
    let mut request = request(renamed);
    request.remove_orphans = true;
    assert_completed(&bed.ended(&bed.apply(request).await.unwrap().operation.unwrap()).await);
    assert_eq!(names(&bed).await, ["fixed"]);
    assert_eq!(bed.status("shop/front").await.0, Status::Running);
}

/// What a kill of the daemon leaves after each call of a replacement.
#[tokio::test]
async fn what_an_interrupted_replacement_left_is_found_by_up_and_by_down() {
    const OLD: &str = "services: {web: {image: app, environment: {V: '1'}}}";
    const NEW: &str = "services: {web: {image: app, environment: {V: '2'}}}";
    for verb in [Verb::Up, Verb::Down] {
        for reached in ["create", "stop", "start", "remove"] {
            let bed = Bed::new().await;
            assert_completed(&bed.up(OLD).await);
            let workloads = &bed.world.engine.workloads;
            let old = workloads.inspect("shop-web-1").await.unwrap().unwrap().id;
            let temporary = format!("{}_shop-web-1", &old[..12]);
            let mut dry = request(NEW);
            dry.dry_run = true;
            let plan = bed.apply(dry).await.unwrap().plan;
            for step in &plan.steps {
                use clos_domain::plan::Work;
                match &step.work {
                    Work::Create(spec) => drop(workloads.create(spec).await.unwrap()),
                    Work::Stop { name, grace } => workloads.stop(name, *grace).await.unwrap(),
                    Work::Start { name } => workloads.start(name).await.unwrap(),
                    Work::Remove { name } => workloads.remove(name).await.unwrap(),
                    _ => {}
                }
                if step.work.action().as_str() == reached {
                    break;
                }
            }
            assert!(names(&bed).await.contains(&temporary));
            bed.control.groups().import(&bed.ctx, request(NEW)).await.unwrap();
            let bed = bed.restarted().await;
            let operation = match verb {
                Verb::Up => bed.up(NEW).await,
                _ => {
                    let down = bed.control.groups().down(&bed.ctx, "shop", false, None).await.unwrap();
                    bed.ended(&down).await
                }
            };
            assert_completed(&operation);
            let left: &[&str] = if verb == Verb::Up { &["shop-web-1"] } else { &[] };
            assert_eq!(names(&bed).await, left, "after {reached}: {:#?}", steps(&operation));
            if verb == Verb::Up {
                assert_eq!(bed.status("shop/web").await.0, Status::Running, "after {reached}");
                assert_eq!(bed.apply(request(NEW)).await.unwrap().plan.steps, [], "after {reached}");
            }
        }
    }
}
