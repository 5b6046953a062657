//! Images: who waits for which, what is built first and asked of no registry.

use clos_domain::operation::State;
use clos_domain::seams::engine;

use crate::bed::{Bed, FOLDER, assert_completed, request, steps};

const ONE_IMAGE_EACH: &str = "
services:
  web: {image: web}
  db: {image: db}
  mine: {build: ., image: mine}
  names: {image: 'mine:latest'}
";

#[tokio::test]
async fn a_pull_or_build_that_fails_holds_back_only_the_services_that_need_the_image() {
    let bed = Bed::new().await;
    bed.engine.add_remote_image("web");
    bed.engine.add_remote_image("db");
    bed.files.write(&format!("{FOLDER}/Dockerfile"), "FROM scratch");
    let refused = engine::Error::PullRefused { image: "web".into(), why: "toomanyrequests".into() };
    bed.engine.fail_always("pull", "web", refused);
    let operation = bed.up(ONE_IMAGE_EACH).await;
    assert_eq!(operation.state, State::Failed, "{operation:#?}");
    assert!(!bed.engine.has("shop-web-1"));
    for service in ["db", "mine", "names"] {
        assert!(bed.engine.runs(&format!("shop-{service}-1")), "{service}: {:#?}", bed.engine.log());
    }
    // What is built here is asked of no registry.
    for call in ["image-resolve", "pull"] {
        assert_eq!(bed.engine.calls(call, "mine:latest") + bed.engine.calls(call, "mine"), 0);
    }
}

#[tokio::test]
async fn a_pull_that_one_service_asks_for_holds_back_nobody_who_has_the_image() {
    let bed = Bed::new().await;
    bed.engine.fail_always(
        "pull",
        "app",
        engine::Error::PullRefused { image: "app".into(), why: "no route".into() },
    );
    let text = "services: {a: {image: app, pull_policy: always}, b: {image: app}, c: {image: app, pull_policy: never}}";
    let operation = bed.up(text).await;
    assert_eq!(operation.state, State::Failed, "{operation:#?}");
    assert!(!bed.engine.has("shop-a-1"));
    assert!(bed.engine.runs("shop-b-1") && bed.engine.runs("shop-c-1"), "{:#?}", steps(&operation));
}

#[tokio::test]
async fn a_new_image_under_the_same_name_is_noticed() {
    let bed = Bed::new().await;
    let text = "services: {web: {image: app}}";
    assert_completed(&bed.up(text).await);
    bed.engine.add_image("app");
    let mut dry = request(text);
    dry.dry_run = true;
    let plan = bed.apply(dry).await.unwrap().plan;
    assert!(plan.render().contains("`app` is another image by now"), "{}", plan.render());
    let operation = bed.up(text).await;
    assert_completed(&operation);
    assert_eq!(bed.engine.calls("remove", "shop-web-1"), 1, "{:#?}", bed.engine.log());
    assert!(bed.apply(request(text)).await.unwrap().plan.is_empty());
}

#[tokio::test]
async fn a_changed_build_definition_is_built_and_changed_contents_only_with_build() {
    let bed = Bed::new().await;
    bed.files.write(&format!("{FOLDER}/Dockerfile"), "FROM scratch");
    let text = |arg: u32| format!("services: {{web: {{build: {{context: ., args: {{A: '{arg}'}}}}}}}}");
    assert_completed(&bed.up(&text(1)).await);
    bed.engine.change_sources();
    assert!(bed.apply(request(&text(1))).await.unwrap().plan.is_empty());
    let operation = bed.up(&text(2)).await;
    assert_completed(&operation);
    assert!(steps(&operation)[0].starts_with("build "), "{:#?}", steps(&operation));
    assert_eq!(bed.engine.calls("build", "shop-web"), 2);
    // A build that failed is tried again, and nothing was lost meanwhile.
    bed.engine.fail_builds("exit code 1");
    assert_eq!(bed.up(&text(3)).await.state, State::Failed);
    assert!(bed.engine.runs("shop-web-1"));
    assert_eq!(bed.up(&text(3)).await.state, State::Failed);
    assert_eq!(bed.engine.calls("build", "shop-web"), 4);
}
