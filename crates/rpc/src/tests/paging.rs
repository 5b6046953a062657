//! Page tokens, as callers hold them.

use super::*;

struct Shown {
    names: Vec<String>,
    pagination: pb::Pagination,
}

impl Bed {
    async fn page(&self, request: pb::ListServicesRequest) -> Result<Shown, Status> {
        let page = said(self.services.list_services(asked(request)).await)?;
        let names = page.services.into_iter().map(|one| one.name).collect();
        Ok(Shown { names, pagination: page.pagination.unwrap() })
    }

    async fn delete(&self, name: &str) {
        let request = pb::DeleteServiceRequest { id: format!("shop/{name}"), ..Default::default() };
        self.services.delete_service(asked(request)).await.unwrap();
    }
}

fn named(name: &str) -> pb::Service {
    pb::Service { name: name.into(), ..web() }
}

#[tokio::test]
async fn a_token_shows_what_stays_once_while_services_come_and_go() {
    let bed = Bed::new().await;
    let stay: Vec<String> = (0..12).map(|n| format!("s{n:02}")).collect();
    for name in &stay {
        bed.create(named(name)).await.unwrap();
    }
    for order_by in ["", "name desc", "created_at", "updated_at desc", "started_at", "status,name"] {
        let request =
            pb::ListServicesRequest { order_by: order_by.into(), limit: Some(5), ..Default::default() };
        let (mut seen, mut token, mut others) = (Vec::new(), String::new(), Vec::<String>::new());
        loop {
            let page =
                bed.page(pb::ListServicesRequest { page_token: token, ..request.clone() }).await.unwrap();
            assert_eq!(page.pagination.offset as usize, seen.len(), "{order_by}");
            seen.extend(page.names);
            token = page.pagination.next_page_token;
            assert_eq!(token.is_empty(), !page.pagination.has_more);
            for other in others.drain(..) {
                bed.delete(&other).await;
            }
            if token.is_empty() {
                break;
            }
            for n in 0..3 {
                let other = format!("{}-{n}", ["a", "s04", "z"][n]);
                bed.create(named(&other)).await.unwrap();
                others.push(other);
            }
        }
        let mut of_stay: Vec<String> = seen.into_iter().filter(|name| stay.contains(name)).collect();
        of_stay.sort();
        assert_eq!(of_stay, stay, "{order_by}");
    }
}

#[tokio::test]
async fn a_token_belongs_to_its_filters_and_its_order() {
    let bed = Bed::new().await;
    for name in ["a", "b", "c"] {
        bed.create(named(name)).await.unwrap();
    }
    let request = pb::ListServicesRequest { group: "shop".into(), limit: Some(1), ..Default::default() };
    let token = bed.page(request.clone()).await.unwrap().pagination.next_page_token;
    let with = pb::ListServicesRequest { page_token: token.clone(), ..request.clone() };
    let more = pb::ListServicesRequest { limit: Some(100), include_metrics: true, ..with.clone() };
    assert_eq!(bed.page(more).await.unwrap().names, ["b", "c"], "size and figures may differ");

    let told = |status: Status| {
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations.len(), 1, "{violations:?}");
        (violations[0].field.clone(), violations[0].description.clone())
    };
    for other in [
        pb::ListServicesRequest { order_by: "name".into(), ..with.clone() },
        pb::ListServicesRequest { q: "a".into(), ..with.clone() },
        pb::ListServicesRequest { group: String::new(), ..with.clone() },
    ] {
        let (field, why) = told(refused(
            bed.page(other).await.map(|page| page.names),
            Code::InvalidArgument,
            Reason::InvalidField,
        ));
        assert_eq!(field, "page_token");
        assert!(why.starts_with("it belongs to a list with other filters or another order; "), "{why}");
    }
    let groups = pb::ListGroupsRequest { page_token: token.clone(), ..Default::default() };
    let of_another = said(bed.groups.list_groups(asked(groups)).await);
    assert_eq!(told(refused(of_another, Code::InvalidArgument, Reason::InvalidField)).0, "page_token");

    // Made up, but of the right list.
    let list = crate::decode::service::list(&request).unwrap();
    let keys = vec![clos_domain::page::Key::Number(4)];
    let forged = crate::decode::page::token(list.listing, &clos_domain::page::Cursor { keys, seen: 0 });
    let forged = bed.page(pb::ListServicesRequest { page_token: forged, ..request }).await;
    let (field, why) =
        told(refused(forged.map(|page| page.names), Code::InvalidArgument, Reason::InvalidField));
    assert_eq!(
        (field.as_str(), why.as_str()),
        ("page_token", "it does not fit this list; leave it out to begin with the first page")
    );
}

#[tokio::test]
async fn groups_go_on_at_a_token_with_and_without_a_status() {
    let bed = Bed::new().await;
    for name in ["a", "c", "e", "g"] {
        bed.create(pb::Service { group: name.into(), ..web() }).await.unwrap();
    }
    for status in [vec![], vec![pb::GroupStatus::Stopped.into()]] {
        let request = pb::ListGroupsRequest { limit: Some(2), status: status.clone(), ..Default::default() };
        let page = async |page_token: String| {
            let request = pb::ListGroupsRequest { page_token, ..request.clone() };
            said(bed.groups.list_groups(asked(request)).await).unwrap()
        };
        let first = page(String::new()).await;
        let token = first.pagination.unwrap().next_page_token;
        for (name, instance) in [("b", ""), ("c", "x"), ("d", "")] {
            let group = pb::Service { group: name.into(), instance: instance.into(), ..web() };
            bed.create(group).await.unwrap();
        }
        let second = page(token).await;
        let names: Vec<String> =
            second.groups.iter().map(|one| format!("{}~{}", one.name, one.instance)).collect();
        assert_eq!(names, ["c~x", "d~"], "{status:?}");
        assert_eq!((second.total_count, second.pagination.as_ref().unwrap().offset), (7, 2));
        let last = page(second.pagination.unwrap().next_page_token).await;
        assert_eq!(last.groups.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["e", "g"]);
        assert!(!last.pagination.unwrap().has_more);
        for name in ["b", "c~x", "d"] {
            let delete = pb::DeleteGroupRequest { name: name.into(), ..Default::default() };
            bed.groups.delete_group(asked(delete)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_history_of_a_service_comes_in_pages() {
    let bed = Bed::new().await;
    bed.create(web()).await.unwrap();
    let other = bed.create(named("other")).await.unwrap();
    for n in 0..4 {
        let owner = pb::Service { owner: format!("ann {n}"), ..Default::default() };
        bed.patch("shop/web", owner, &["owner"], "").await.unwrap();
    }
    let request =
        pb::ListServiceEventsRequest { id: "shop/web".into(), limit: Some(2), ..Default::default() };
    let page = async |request: pb::ListServiceEventsRequest| {
        said(bed.services.list_service_events(asked(request)).await)
    };
    let (mut request_of_next, mut seen) = (request.clone(), Vec::new());
    loop {
        let shown = page(request_of_next).await.unwrap();
        seen.extend(shown.events.iter().map(|event| event.seq));
        assert_eq!(shown.has_more, !shown.next_page_token.is_empty());
        if !shown.has_more {
            break;
        }
        request_of_next =
            pb::ListServiceEventsRequest { page_token: shown.next_page_token, ..request.clone() };
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted_by(|one, next| one < next), "{seen:?}");
    let first = page(request.clone()).await.unwrap();
    // Who repeats the first request with the token may leave `after` as it was.
    let again = pb::ListServiceEventsRequest {
        after: Some(1),
        page_token: first.next_page_token.clone(),
        ..request.clone()
    };
    assert_eq!(page(again).await.unwrap().events[0].seq, seen[2]);
    for wrong in [
        pb::ListServiceEventsRequest { id: other.id, ..request.clone() },
        pb::ListServiceEventsRequest { event_type: vec!["service.*".into()], ..request },
    ] {
        let wrong = pb::ListServiceEventsRequest { page_token: first.next_page_token.clone(), ..wrong };
        refused(page(wrong).await, Code::InvalidArgument, Reason::InvalidField);
    }

    for _ in 0..3 {
        let stop = pb::StopServiceRequest { id: "shop/web".into(), ..Default::default() };
        let begun = said(within(bed.services.stop_service(asked(stop))).await).unwrap();
        bed.ended(&begun).await;
    }
    let list = async |page_token: String| {
        let id = "shop/web".into();
        let request =
            pb::ListServiceOperationsRequest { id, limit: Some(2), page_token, ..Default::default() };
        said(bed.services.list_service_operations(asked(request)).await).unwrap()
    };
    let first = list(String::new()).await;
    let last = list(first.pagination.unwrap().next_page_token).await;
    assert_eq!((first.operations.len(), last.operations.len(), last.total_count), (2, 1, 3));
    assert!(first.operations.iter().all(|one| one.id != last.operations[0].id));
}
