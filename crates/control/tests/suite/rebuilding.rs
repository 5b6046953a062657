//! `up --build` and `--pull always`: a container is replaced only if its image has become another one.

use clos_domain::operation::{Operation, State};
use clos_domain::service::{Desired, Observed};

use crate::bed::{Bed, FOLDER, assert_completed, request, steps, within};

async fn bed() -> Bed {
    let bed = Bed::new().await;
    for folder in ["web", "db", "job"] {
        bed.files.write(&format!("{FOLDER}/{folder}/Dockerfile"), "FROM scratch");
    }
    bed
}

/// `up --build`, not waited for.
async fn begin_build(bed: &Bed, text: &str, atomic: bool) -> Operation {
    let mut asked = request(text);
    (asked.build, asked.atomic) = (true, atomic);
    bed.apply(asked).await.unwrap().operation.unwrap()
}

async fn build(bed: &Bed, text: &str) -> Operation {
    let begun = begin_build(bed, text, false).await;
    bed.ended(&begun).await
}

fn id(bed: &Bed, service: &str) -> String {
    bed.engine.id(&format!("shop-{service}-1")).unwrap()
}

/// The steps that were passed over, by what is said of them.
fn passed_over(operation: &Operation, word: &str) -> usize {
    operation.steps.iter().filter(|step| step.state == State::Completed && step.message == word).count()
}

async fn containers(bed: &Bed) -> usize {
    bed.world.engine.workloads.list().await.unwrap().len()
}

const WEB: &str = "services: {web: {build: web}}";

#[tokio::test]
async fn what_is_built_from_the_cache_goes_on_as_it_was() {
    let bed = bed().await;
    assert_completed(&bed.up(WEB).await);
    let before = id(&bed, "web");
    let operation = build(&bed, WEB).await;
    assert_completed(&operation);
    assert_eq!(id(&bed, "web"), before, "{:#?}", bed.engine.log());
    assert_eq!(passed_over(&operation, "unchanged"), 5, "{operation:#?}");
    assert_eq!((bed.engine.calls("build", "shop-web"), bed.engine.starts_of("shop-web-1")), (2, 1));
    let service = bed.service("shop/web").await;
    assert_eq!((service.desired, service.observed.is_running()), (Desired::Running, true));

    bed.engine.change_sources();
    let operation = build(&bed, WEB).await;
    assert_completed(&operation);
    assert_ne!(id(&bed, "web"), before);
    assert_eq!(passed_over(&operation, "unchanged"), 0);
    assert!(bed.apply(request(WEB)).await.unwrap().plan.is_empty());
}

#[tokio::test]
async fn what_is_pulled_again_and_is_the_same_goes_on_as_it_was() {
    let bed = bed().await;
    bed.engine.add_remote_image("other");
    let text = "services: {web: {image: other, pull_policy: always}}";
    assert_completed(&bed.up(text).await);
    let before = id(&bed, "web");
    assert_completed(&bed.up(text).await);
    assert_eq!(id(&bed, "web"), before);
    bed.engine.add_remote_image("other");
    assert_completed(&bed.up(text).await);
    assert_ne!(id(&bed, "web"), before);
    assert_eq!(containers(&bed).await, 1);
}

#[tokio::test]
async fn of_two_only_the_changed_one_is_replaced() {
    let bed = bed().await;
    let text = |arg: u32| {
        format!(
            "services: {{web: {{build: {{context: web, args: {{A: '{arg}'}}}}}}, db: {{build: db}}, same: {{image: shop-web}}}}"
        )
    };
    assert_completed(&bed.up(&text(1)).await);
    let (web, db, same) = (id(&bed, "web"), id(&bed, "db"), id(&bed, "same"));
    let operation = build(&bed, &text(2)).await;
    assert_completed(&operation);
    assert_ne!(id(&bed, "web"), web);
    assert_eq!(id(&bed, "db"), db, "{:#?}", bed.engine.log());
    // Whoever runs the image that another one builds has that image.
    assert_ne!(id(&bed, "same"), same);
    assert_eq!(bed.engine.calls("build", "shop-web"), 2);
}

#[tokio::test]
async fn a_job_runs_once_whether_it_is_replaced_or_not() {
    let bed = bed().await;
    let text = "services: {job: {build: job, restart: 'no'}, web: {image: app, depends_on: {job: {condition: service_completed_successfully}}}}";
    bed.engine.exits_with("shop-job-1", 0);
    assert_completed(&bed.up(text).await);
    let (before, starts) = (id(&bed, "job"), bed.engine.starts_of("shop-job-1"));
    let operation = build(&bed, text).await;
    assert_completed(&operation);
    assert_eq!(id(&bed, "job"), before);
    assert_eq!(bed.engine.starts_of("shop-job-1"), starts + 1, "{:#?}", steps(&operation));

    bed.engine.change_sources();
    bed.engine.exits_with(&format!("{}_shop-job-1", &before[..12]), 0);
    let operation = build(&bed, text).await;
    assert_completed(&operation);
    assert_ne!(id(&bed, "job"), before);
    assert_eq!(bed.engine.starts_of("shop-job-1"), starts + 2, "{:#?}", bed.engine.log());
    assert_eq!(passed_over(&operation, "replaced"), 1);
}

const FOLLOWED: &str = "
services:
  db: {build: db}
  web: {image: app, depends_on: {db: {condition: service_started, restart: true}}}
  guest: {image: app, network_mode: 'service:db'}
";

#[tokio::test]
async fn who_follows_does_so_only_if_it_is_replaced() {
    let bed = bed().await;
    assert_completed(&bed.up(FOLLOWED).await);
    let before = ["db", "web", "guest"].map(|service| id(&bed, service));
    assert_completed(&build(&bed, FOLLOWED).await);
    assert_eq!(["db", "web", "guest"].map(|service| id(&bed, service)), before);
    assert_eq!(bed.engine.starts_of("shop-web-1"), 1, "{:#?}", bed.engine.log());

    bed.engine.change_sources();
    assert_completed(&build(&bed, FOLLOWED).await);
    let after = ["db", "web", "guest"].map(|service| id(&bed, service));
    assert!(after[0] != before[0] && after[1] == before[1] && after[2] != before[2]);
    assert_eq!(bed.engine.starts_of("shop-web-1"), 2);
    assert_eq!(bed.engine.shared_by("shop-guest-1"), [after[0].clone()]);
}

#[tokio::test]
async fn an_undo_leaves_alone_what_was_passed_over() {
    let bed = bed().await;
    let text = |extra: &str| format!("{FOLLOWED}  job: {{build: job, restart: 'no'}}\n{extra}");
    bed.engine.exits_with("shop-job-1", 0);
    assert_completed(&bed.up(&text("")).await);
    let names = ["db", "web", "guest", "job"];
    let before = names.map(|service| id(&bed, service));
    bed.engine.exits_with("shop-late-1", 3);
    let late = "  late: {image: app, restart: 'no', depends_on: [web, job]}\n";
    let begun = begin_build(&bed, &text(late), true).await;
    let operation = bed.ended(&begun).await;
    assert_eq!(operation.state, State::Failed, "{:#?}", steps(&operation));
    assert_eq!(operation.leftovers, Vec::<String>::new());
    assert_eq!(names.map(|service| id(&bed, service)), before, "{:#?}", bed.engine.log());
    for service in ["db", "web", "guest"] {
        let row = bed.service(&format!("shop/{service}")).await;
        assert_eq!((row.desired, row.observed.is_running()), (Desired::Running, true), "{service}");
        assert!(bed.engine.runs(&format!("shop-{service}-1")));
    }
    assert!(matches!(bed.service("shop/job").await.observed, Observed::Exited(_)));
}

#[tokio::test]
async fn a_build_that_fails_under_atomic_leaves_followers_wanted() {
    let bed = bed().await;
    assert_completed(&bed.up(FOLLOWED).await);
    bed.engine.fail_builds("exit code 1");
    let begun = begin_build(&bed, FOLLOWED, true).await;
    assert_eq!(bed.ended(&begun).await.state, State::Failed);
    for service in ["db", "web", "guest"] {
        let row = bed.service(&format!("shop/{service}")).await;
        assert_eq!((row.desired, row.observed.is_running()), (Desired::Running, true), "{service}");
    }
}

#[tokio::test]
async fn a_cancel_leaves_alone_what_was_passed_over() {
    let bed = bed().await;
    let text = "
services:
  db: {build: db}
  web: {image: app, environment: {V: V}, depends_on: [db]}
";
    assert_completed(&bed.up(text).await);
    let before = ["db", "web"].map(|service| id(&bed, service));
    let held = bed.engine.hold("create", &format!("{}_shop-web-1", &before[1][..12]));
    let begun = begin_build(&bed, &text.replace("V: V", "V: W"), false).await;
    within(held.reached()).await;
    bed.control.operations().cancel(&bed.ctx, begun.id.as_str()).await.unwrap();
    drop(held);
    let operation = bed.ended(&begun).await;
    assert_eq!(operation.state, State::Cancelled, "{:#?}", steps(&operation));
    assert_eq!(["db", "web"].map(|service| id(&bed, service)), before, "{:#?}", bed.engine.log());
    for service in ["db", "web"] {
        let row = bed.service(&format!("shop/{service}")).await;
        assert_eq!((row.desired, row.observed.is_running()), (Desired::Running, true), "{service}");
    }
}

#[tokio::test]
async fn two_builds_at_once_end_with_one_container() {
    for round in 0..10 {
        let bed = bed().await;
        assert_completed(&bed.up(WEB).await);
        let before = id(&bed, "web");
        bed.engine.change_sources();
        let (one, two) = tokio::join!(begin_build(&bed, WEB, false), begin_build(&bed, WEB, false));
        for operation in [one, two] {
            let operation = bed.ended(&operation).await;
            assert_eq!(operation.state, State::Completed, "round {round}: {:#?}", steps(&operation));
        }
        assert_ne!(id(&bed, "web"), before);
        assert!(bed.engine.runs("shop-web-1"));
        assert_eq!(containers(&bed).await, 1, "round {round}: {:#?}", bed.engine.log());
    }
}
