//! What a change changes: with a mask, without one, with `*`, and as a replacement.

use super::*;

/// A service of which every kind of field is set.
fn full() -> pb::Service {
    pb::Service {
        description: "sells".into(),
        owner: "ann".into(),
        tags: vec!["a".into(), "b".into()],
        environment: BTreeMap::from([
            ("DB_PASSWORD".into(), "hunter2".into()),
            ("LEVEL".into(), "info".into()),
        ]),
        start_order: 3,
        resources: Some(pb::Resources {
            memory_limit: Some(1 << 20),
            pids_limit: Some(9),
            ..Default::default()
        }),
        ..web()
    }
}

async fn update(bed: &Bed, service: pb::Service, update_mask: Option<prost_types::FieldMask>) -> pb::Service {
    let request = pb::UpdateServiceRequest {
        id: "shop/web".into(),
        service: Some(service),
        update_mask,
        ..Default::default()
    };
    said(bed.services.update_service(asked(request)).await).unwrap()
}

async fn secret(bed: &Bed) -> String {
    let kept = bed.control.services().get(&bed.ctx, "shop/web").await.unwrap();
    kept.definition.environment["DB_PASSWORD"].clone()
}

/// The definition: what a caller sends, as it is shown.
fn definition(shown: &pb::Service) -> pb::Service {
    pb::Service {
        id: String::new(),
        etag: String::new(),
        updated_at: None,
        created_at: None,
        ..shown.clone()
    }
}

#[tokio::test]
async fn a_service_is_changed_where_its_mask_says() {
    let bed = Bed::new().await;
    let made = definition(&bed.create(full()).await.unwrap());

    // What is set, without a mask.
    let some = pb::Service {
        owner: "bob".into(),
        resources: Some(pb::Resources { pids_limit: Some(20), ..Default::default() }),
        ..Default::default()
    };
    let limits = pb::Resources { pids_limit: Some(20), ..made.resources.clone().unwrap() };
    let wanted = pb::Service { owner: "bob".into(), resources: Some(limits), ..made.clone() };
    assert_eq!(definition(&update(&bed, some, None).await), wanted);
    assert_eq!(definition(&update(&bed, pb::Service::default(), None).await), wanted, "nothing is set");

    // What is named, set or not.
    let named = mask(&["owner", "description", "environment.LEVEL"]);
    let some = pb::Service { owner: "eve".into(), tags: vec!["c".into()], ..Default::default() };
    let mut wanted = pb::Service { owner: "eve".into(), description: String::new(), ..wanted };
    wanted.environment.remove("LEVEL");
    assert_eq!(definition(&update(&bed, some.clone(), Some(named)).await), wanted);
    assert_eq!(definition(&update(&bed, some, Some(mask(&[]))).await), wanted, "an empty mask");

    // What was read and is sent back keeps what it hides.
    let read = bed.get("shop/web").await.unwrap();
    let sent = pb::Service { description: "back".into(), ..read };
    let wanted = pb::Service { description: "back".into(), ..wanted };
    for update_mask in [None, Some(mask(&["description", "environment"])), Some(mask(&["*"]))] {
        assert_eq!(definition(&update(&bed, sent.clone(), update_mask).await), wanted);
        assert_eq!(secret(&bed).await, "hunter2");
    }

    // Everything.
    let bare = definition(&update(&bed, web(), Some(mask(&["*"]))).await);
    assert_eq!((bare.owner.as_str(), bare.tags.len(), bare.environment.len()), ("", 0, 0));
    assert_eq!((bare.start_order, bare.resources), (0, None));
}

#[tokio::test]
async fn a_replaced_service_is_what_was_sent() {
    let bed = Bed::new().await;
    let made = bed.create(full()).await.unwrap();
    let replace = async |service: pb::Service| {
        let request =
            pb::ReplaceServiceRequest { id: made.id.clone(), service: Some(service), ..Default::default() };
        said(bed.services.replace_service(asked(request)).await)
    };
    let sent = pb::Service { owner: String::new(), ..made.clone() };
    let replaced = replace(sent.clone()).await.unwrap();
    assert_eq!(definition(&replaced), definition(&sent));
    assert_eq!(secret(&bed).await, "hunter2");
    let hidden = BTreeMap::from([("NEW_PASSWORD".to_owned(), crate::encode::MASK.to_owned())]);
    let unknown = replace(pb::Service { environment: hidden, ..web() }).await;
    refused(unknown, Code::InvalidArgument, Reason::InvalidField);
    let bare = replace(web()).await.unwrap();
    assert_eq!((bare.tags.len(), bare.environment.len(), bare.description.as_str()), (0, 0, ""));
    let without = pb::ReplaceServiceRequest { id: made.id.clone(), ..Default::default() };
    let without = said(bed.services.replace_service(asked(without)).await);
    refused(without, Code::InvalidArgument, Reason::InvalidField);
}

#[tokio::test]
async fn a_group_is_changed_where_its_mask_says_and_replaced_whole() {
    let bed = Bed::new().await;
    let group = pb::Group {
        name: "shop".into(),
        description: "sells".into(),
        start_order: 4,
        profiles: vec!["dev".into()],
        dependencies: vec!["infra".into()],
        ..Default::default()
    };
    let create = pb::CreateGroupRequest { group: Some(group), request_id: String::new() };
    let made = said(bed.groups.create_group(asked(create)).await).unwrap();
    let of = |shown: &pb::Group| {
        (shown.description.clone(), shown.start_order, shown.profiles.len(), shown.dependencies.len())
    };
    let update = async |group: pb::Group, update_mask| {
        let request = pb::UpdateGroupRequest {
            name: "shop".into(),
            group: Some(group),
            update_mask,
            ..Default::default()
        };
        of(&said(bed.groups.update_group(asked(request)).await).unwrap())
    };
    let some = pb::Group { description: "buys".into(), ..Default::default() };
    assert_eq!(update(some.clone(), None).await, ("buys".into(), 4, 1, 1), "what is set");
    assert_eq!(update(pb::Group::default(), None).await, ("buys".into(), 4, 1, 1), "nothing is set");
    assert_eq!(update(pb::Group::default(), Some(mask(&[]))).await, ("buys".into(), 4, 1, 1));
    let named = mask(&["start_order", "profiles"]);
    assert_eq!(update(some.clone(), Some(named)).await, ("buys".into(), 0, 0, 1), "what is named");
    assert_eq!(update(some.clone(), Some(mask(&["*"]))).await, ("buys".into(), 0, 0, 0), "everything");

    let replace = async |group: Option<pb::Group>, etag: &str| {
        let request = pb::ReplaceGroupRequest {
            name: made.id.clone(),
            group,
            etag: etag.into(),
            request_id: String::new(),
        };
        said(bed.groups.replace_group(asked(request)).await)
    };
    let replaced = replace(Some(made.clone()), "").await.unwrap();
    assert_eq!(of(&replaced), of(&made));
    assert_eq!(of(&replace(Some(some), &replaced.etag).await.unwrap()), ("buys".into(), 0, 0, 0));
    let old = replace(Some(made.clone()), &replaced.etag).await;
    refused(old, Code::Aborted, Reason::EtagMismatch);
    refused(replace(None, "").await, Code::InvalidArgument, Reason::InvalidField);
}
