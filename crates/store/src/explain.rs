//! The queries over listings use the indexes that were made for them.

use clos_domain::event::Filter;
use clos_domain::id::{GroupId, OperationId, ServiceId};
use clos_domain::name::GroupFilter;
use clos_domain::operation::State;
use clos_domain::page::{Cursor, Key, Request};
use clos_domain::seams::store::{OperationFilter, ServiceFilter, ServiceKey, ServiceOrder};
use clos_domain::service::Status;
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DbBackend, EntityTrait, QueryTrait, Select, Statement,
    TransactionTrait,
};

use crate::{groups, journal, keyset, operations, services};

async fn database() -> DatabaseConnection {
    let mut options = sea_orm::ConnectOptions::new("sqlite::memory:");
    options.max_connections(1).sqlx_logging(false);
    let connection = Database::connect(options).await.unwrap();
    let transaction = connection.begin().await.unwrap();
    clos_migrations::run(&transaction).await.unwrap();
    transaction.commit().await.unwrap();
    connection
}

/// The plan of a query, a line a step.
async fn explained<E: EntityTrait>(connection: &DatabaseConnection, query: Select<E>) -> Vec<String> {
    explained_statement(connection, query.build(DbBackend::Sqlite)).await
}

async fn explained_statement(connection: &DatabaseConnection, mut statement: Statement) -> Vec<String> {
    statement.sql = format!("EXPLAIN QUERY PLAN {}", statement.sql);
    let rows = connection.query_all_raw(statement).await.unwrap();
    rows.iter().map(|row| row.try_get::<String>("", "detail").unwrap()).collect()
}

/// Every table is reached by an index, and nothing is sorted that an index has in order.
fn is_indexed(plan: &[String]) -> bool {
    plan.iter().all(|line| {
        let is_scan = line.starts_with("SCAN") && !line.contains("USING");
        !is_scan && !line.contains("TEMP B-TREE") && !line.contains("AUTOMATIC")
    })
}

fn filter(raw: &str) -> Option<GroupFilter> {
    Some(GroupFilter::parse("group", raw).unwrap())
}

fn first() -> Request {
    Request::at(50, 0)
}

fn after(keys: &[Key]) -> Request {
    Request::after(50, Cursor { keys: keys.to_vec(), seen: 50 })
}

fn text(text: &str) -> Key {
    Key::Text(text.to_owned())
}

#[tokio::test]
async fn groups_are_listed_by_an_index() {
    let connection = database().await;
    for wanted in [None, filter("shop"), filter("shop~*")] {
        for page in [first(), after(&[text("shop"), text("x")])] {
            let query = keyset::part(groups::listing(wanted.as_ref()), &groups::order(), &page).unwrap();
            let plan = explained(&connection, query).await;
            assert!(is_indexed(&plan), "{wanted:?} {page:?}: {plan:#?}");
            // The base of one group is a row; the others go on where the page begins.
            let is_entered = |line: &String| line.starts_with("SEARCH");
            assert!(page == first() || plan.iter().all(is_entered), "{wanted:?} {page:?}: {plan:#?}");
        }
    }
}

#[tokio::test]
async fn services_of_a_group_and_by_name_are_listed_by_indexes() {
    let connection = database().await;
    for group in [None, filter("shop"), filter("shop~*")] {
        let wanted = ServiceFilter { group, ..ServiceFilter::default() };
        for page in [first(), after(&[text("shop"), text("x"), Key::Number(3), text("web")])] {
            let query =
                keyset::part(services::listing(&wanted), &services::order(&wanted.order), &page).unwrap();
            let plan = explained(&connection, query).await;
            assert!(is_indexed(&plan), "{wanted:?} {page:?}: {plan:#?}");
            let is_entered = |line: &String| line.starts_with("SEARCH");
            assert!(page == first() || plan.iter().all(is_entered), "{wanted:?} {page:?}: {plan:#?}");
        }
    }
    let plan = explained(&connection, services::of_group(&GroupId::trusted("grp_1"))).await;
    assert!(is_indexed(&plan), "{plan:#?}");
}

#[tokio::test]
async fn services_by_status_and_tag_are_found_by_their_indexes() {
    let connection = database().await;
    let all = ServiceFilter::default();
    let cases = [
        (ServiceFilter { status: vec![Status::Failed], ..all.clone() }, "services_by_status"),
        (ServiceFilter { tags: vec!["web".into()], ..all }, "service_tags_by_tag"),
    ];
    for (wanted, index) in cases {
        let query =
            keyset::part(services::listing(&wanted), &services::order(&wanted.order), &first()).unwrap();
        let plan = explained(&connection, query).await;
        assert!(plan.iter().any(|line| line.contains(index)), "{index}: {plan:#?}");
    }
}

#[tokio::test]
async fn services_by_time_are_read_once_and_sorted() {
    let connection = database().await;
    for (by, descending) in
        [(ServiceKey::CreatedAt, false), (ServiceKey::CreatedAt, true), (ServiceKey::UpdatedAt, true)]
    {
        let order = vec![ServiceOrder { by, descending }];
        let wanted = ServiceFilter { order: order.clone(), ..ServiceFilter::default() };
        let query = keyset::part(services::listing(&wanted), &services::order(&order), &first()).unwrap();
        let plan = explained(&connection, query).await;
        assert_eq!(plan.len(), 3, "{order:?}: {plan:#?}");
        assert!(plan[0].starts_with("SCAN services"), "{order:?}: {plan:#?}");
        assert!(plan[1].starts_with("SEARCH groups"), "{order:?}: {plan:#?}");
    }
}

#[tokio::test]
async fn what_belongs_to_a_page_is_found_by_its_owner() {
    let connection = database().await;
    let ids = ["a".to_owned(), "b".to_owned()];
    let cases = [
        (&groups::BY_IDS, "groups", 2),
        (&services::BY_IDS, "services", 9),
        (&operations::BY_IDS, "operations", 2),
    ];
    for (by_ids, what, tables) in cases {
        let mut plan =
            explained_statement(&connection, by_ids.statement(DbBackend::Sqlite, &ids).unwrap()).await;
        plan.retain(|line| !line.starts_with("SCAN json_each"));
        let reached = plan.iter().filter(|line| line.starts_with("SEARCH")).count();
        assert!(is_indexed(&plan) && reached == tables, "{what}: {plan:#?}");
    }
    let plan = explained(&connection, crate::ports::listing()).await;
    assert!(!plan.iter().any(|line| line.contains("TEMP B-TREE")), "{plan:#?}");
}

#[tokio::test]
async fn operations_are_listed_by_indexes() {
    let connection = database().await;
    let all = OperationFilter::default();
    let one_state = OperationFilter { state: vec![State::Failed], ..all.clone() };
    let of_a_group = OperationFilter { group: filter("shop"), ..all.clone() };
    for wanted in [all.clone(), one_state, of_a_group] {
        for page in [first(), after(&[Key::Number(7), text("op_1")])] {
            let query = keyset::part(operations::listing(&wanted), &operations::order(), &page).unwrap();
            let plan = explained(&connection, query).await;
            assert!(is_indexed(&plan), "{wanted:?} {page:?}: {plan:#?}");
            let is_entered = |line: &String| line.starts_with("SEARCH");
            assert!(page == first() || plan.iter().all(is_entered), "{wanted:?} {page:?}: {plan:#?}");
        }
    }
    // These sort what they found, which is little.
    let open = OperationFilter { open: true, ..all.clone() };
    let of_a_service = OperationFilter { service: Some(ServiceId::trusted("svc_1")), ..all };
    for (wanted, index) in [(open, "operations_by_state"), (of_a_service, "operations_by_service")] {
        let query = keyset::part(operations::listing(&wanted), &operations::order(), &first()).unwrap();
        let plan = explained(&connection, query).await;
        assert!(plan.iter().any(|line| line.contains(index)), "{wanted:?}: {plan:#?}");
    }
}

#[tokio::test]
async fn the_journal_is_read_by_position() {
    let connection = database().await;
    let all = Filter::default();
    let filters = [
        all.clone(),
        Filter { service: Some(ServiceId::trusted("svc_1")), ..all.clone() },
        Filter { group: filter("shop~*"), ..all.clone() },
        Filter { operation: Some(OperationId::trusted("op_1")), ..all },
    ];
    for wanted in filters {
        let plan = explained(&connection, journal::listing(&wanted, 100, 50)).await;
        assert!(is_indexed(&plan), "{wanted:?}: {plan:#?}");
        assert!(plan.iter().all(|line| line.starts_with("SEARCH")), "{wanted:?}: {plan:#?}");
    }
}
