//! Services as Google's API guides have them written, <https://google.aip.dev>, behind `clos-gateway`: a library, topics,
//! and `google.longrunning.Operations`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use clos_tests::{Answer, Curl};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use crate::Gateway;

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/google.rs"));
}

use generated::google::longrunning as lro;
use generated::library::v1 as library;
use generated::pubsub::v1 as pubsub;
use library::{Book, Shelf};
use lro::operations_server::{Operations, OperationsServer};
use pubsub::Topic;

/// What the services were compiled from, and `google.cloud.location` beside them.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/google.pb"));

type Answered<T> = Result<Response<T>, Status>;

/// All three services over one memory.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Memory>>);

#[derive(Default)]
struct Memory {
    shelves: BTreeMap<String, Shelf>,
    books: BTreeMap<String, Book>,
    topics: BTreeMap<String, Topic>,
    messages: Vec<pubsub::PubsubMessage>,
    operations: BTreeMap<String, lro::Operation>,
}

fn found<T: Clone>(known: &BTreeMap<String, T>, name: &str) -> Result<T, Status> {
    known.get(name).cloned().ok_or_else(|| Status::not_found(format!("`{name}` is not there")))
}

fn removed<T>(known: &mut BTreeMap<String, T>, name: &str) -> Answered<()> {
    let gone = known.remove(name).map(|_| Response::new(()));
    gone.ok_or_else(|| Status::not_found(format!("`{name}` is not there")))
}

/// A page of what is under a name, and the token of the next one.
fn page<T: Clone>(all: &BTreeMap<String, T>, under: &str, size: i32, token: &str) -> (Vec<T>, String) {
    let size = if size == 0 { 100 } else { usize::try_from(size).unwrap() };
    let is_under = |name: &str| under.ends_with("/-/") || name.starts_with(under);
    let mut rest = all.iter().filter(|(name, _)| is_under(name) && name.as_str() > token);
    let page: Vec<(&String, &T)> = rest.by_ref().take(size).collect();
    let next = match (rest.next(), page.last()) {
        (Some(_), Some((last, _))) => (*last).clone(),
        _ => String::new(),
    };
    (page.into_iter().map(|(_, one)| one.clone()).collect(), next)
}

fn masked<'m>(mask: Option<&'m prost_types::FieldMask>, known: &[&str]) -> Result<Vec<&'m str>, Status> {
    let paths: Vec<&str> = mask.iter().flat_map(|mask| &mask.paths).map(String::as_str).collect();
    match paths.iter().find(|path| !known.contains(path)) {
        Some(path) => Err(Status::invalid_argument(format!("update_mask: `{path}` cannot be changed"))),
        None => Ok(paths),
    }
}

impl Server {
    /// Starts it; it ends with the sender.
    async fn start() -> (String, oneshot::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self::default();
        let routes = tonic::transport::Server::builder()
            .add_service(library::library_server::LibraryServer::new(server.clone()))
            .add_service(pubsub::publisher_server::PublisherServer::new(server.clone()))
            .add_service(OperationsServer::new(server));
        let (life, end) = oneshot::channel();
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let serving = routes.serve_with_incoming_shutdown(incoming, async {
            let _ = end.await;
        });
        tokio::spawn(async { serving.await.unwrap() });
        (url, life)
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.0.lock().unwrap()
    }
}

#[tonic::async_trait]
impl library::library_server::Library for Server {
    async fn create_shelf(&self, request: Request<library::CreateShelfRequest>) -> Answered<Shelf> {
        let library::CreateShelfRequest { shelf, shelf_id } = request.into_inner();
        let name = format!("shelves/{shelf_id}");
        let shelf = Shelf { name: name.clone(), ..shelf.unwrap() };
        self.memory().shelves.insert(name, shelf.clone());
        Ok(Response::new(shelf))
    }

    async fn get_shelf(&self, request: Request<library::GetShelfRequest>) -> Answered<Shelf> {
        found(&self.memory().shelves, &request.get_ref().name).map(Response::new)
    }

    async fn list_shelves(
        &self,
        request: Request<library::ListShelvesRequest>,
    ) -> Answered<library::ListShelvesResponse> {
        let library::ListShelvesRequest { page_size, page_token } = request.into_inner();
        let (shelves, next_page_token) = page(&self.memory().shelves, "shelves/", page_size, &page_token);
        Ok(Response::new(library::ListShelvesResponse { shelves, next_page_token }))
    }

    async fn update_shelf(&self, request: Request<library::UpdateShelfRequest>) -> Answered<Shelf> {
        let library::UpdateShelfRequest { shelf, update_mask } = request.into_inner();
        let shelf = shelf.unwrap();
        let mut memory = self.memory();
        let mut changed = found(&memory.shelves, &shelf.name)?;
        if masked(update_mask.as_ref(), &["theme"])?.contains(&"theme") {
            changed.theme = shelf.theme;
        }
        memory.shelves.insert(shelf.name, changed.clone());
        Ok(Response::new(changed))
    }

    async fn delete_shelf(&self, request: Request<library::DeleteShelfRequest>) -> Answered<()> {
        removed(&mut self.memory().shelves, &request.get_ref().name)
    }

    async fn merge_shelves(&self, request: Request<library::MergeShelvesRequest>) -> Answered<Shelf> {
        let library::MergeShelvesRequest { name, other_shelf } = request.into_inner();
        let mut memory = self.memory();
        removed(&mut memory.shelves, &other_shelf)?;
        found(&memory.shelves, &name).map(Response::new)
    }

    async fn create_book(&self, request: Request<library::CreateBookRequest>) -> Answered<Book> {
        let library::CreateBookRequest { parent, book, book_id } = request.into_inner();
        let name = format!("{parent}/books/{book_id}");
        let book = Book { name: name.clone(), ..book.unwrap() };
        self.memory().books.insert(name, book.clone());
        Ok(Response::new(book))
    }

    async fn get_book(&self, request: Request<library::GetBookRequest>) -> Answered<Book> {
        found(&self.memory().books, &request.get_ref().name).map(Response::new)
    }

    async fn list_books(
        &self,
        request: Request<library::ListBooksRequest>,
    ) -> Answered<library::ListBooksResponse> {
        let library::ListBooksRequest { parent, page_size, page_token } = request.into_inner();
        let (books, next_page_token) =
            page(&self.memory().books, &format!("{parent}/"), page_size, &page_token);
        Ok(Response::new(library::ListBooksResponse { books, next_page_token }))
    }

    async fn batch_get_books(
        &self,
        request: Request<library::BatchGetBooksRequest>,
    ) -> Answered<library::BatchGetBooksResponse> {
        let memory = self.memory();
        let books = request.get_ref().names.iter().map(|name| found(&memory.books, name));
        Ok(Response::new(library::BatchGetBooksResponse { books: books.collect::<Result<_, _>>()? }))
    }

    async fn update_book(&self, request: Request<library::UpdateBookRequest>) -> Answered<Book> {
        let library::UpdateBookRequest { book, update_mask } = request.into_inner();
        let book = book.unwrap();
        let mut memory = self.memory();
        let mut changed = found(&memory.books, &book.name)?;
        for path in masked(update_mask.as_ref(), &["author", "title", "read"])? {
            match path {
                "author" => changed.author.clone_from(&book.author),
                "title" => changed.title.clone_from(&book.title),
                _ => changed.read = book.read,
            }
        }
        memory.books.insert(book.name, changed.clone());
        Ok(Response::new(changed))
    }

    async fn delete_book(&self, request: Request<library::DeleteBookRequest>) -> Answered<()> {
        removed(&mut self.memory().books, &request.get_ref().name)
    }

    async fn move_book(&self, request: Request<library::MoveBookRequest>) -> Answered<Book> {
        let library::MoveBookRequest { name, other_shelf } = request.into_inner();
        let mut memory = self.memory();
        let mut book = found(&memory.books, &name)?;
        memory.books.remove(&name);
        book.name = format!("{other_shelf}/books/{}", name.rsplit('/').next().unwrap());
        memory.books.insert(book.name.clone(), book.clone());
        Ok(Response::new(book))
    }

    async fn import_books(&self, request: Request<library::ImportBooksRequest>) -> Answered<lro::Operation> {
        let library::ImportBooksRequest { parent, books } = request.into_inner();
        let any = |name: &str, value: Vec<u8>| {
            Some(prost_types::Any { type_url: format!("type.googleapis.com/library.v1.{name}"), value })
        };
        let response = library::ImportBooksResponse { count: i32::try_from(books.len()).unwrap() };
        let operation = lro::Operation {
            name: format!("operations/{parent}/import"),
            metadata: any("ImportBooksMetadata", library::ImportBooksMetadata { parent }.encode_to_vec()),
            done: true,
            result: any("ImportBooksResponse", response.encode_to_vec())
                .map(lro::operation::Result::Response),
        };
        self.memory().operations.insert(operation.name.clone(), operation.clone());
        Ok(Response::new(operation))
    }

    async fn wait_operation(&self, request: Request<lro::WaitOperationRequest>) -> Answered<lro::Operation> {
        assert!(request.get_ref().timeout.is_some_and(|timeout| timeout.seconds == 10));
        found(&self.memory().operations, &request.get_ref().name).map(Response::new)
    }
}

#[tonic::async_trait]
impl pubsub::publisher_server::Publisher for Server {
    async fn create_topic(&self, request: Request<Topic>) -> Answered<Topic> {
        let topic = request.into_inner();
        self.memory().topics.insert(topic.name.clone(), topic.clone());
        Ok(Response::new(topic))
    }

    async fn update_topic(&self, request: Request<pubsub::UpdateTopicRequest>) -> Answered<Topic> {
        let pubsub::UpdateTopicRequest { topic, update_mask } = request.into_inner();
        let topic = topic.unwrap();
        let mut memory = self.memory();
        let mut changed = found(&memory.topics, &topic.name)?;
        if masked(update_mask.as_ref(), &["labels"])?.contains(&"labels") {
            changed.labels = topic.labels;
        }
        memory.topics.insert(topic.name, changed.clone());
        Ok(Response::new(changed))
    }

    async fn publish(&self, request: Request<pubsub::PublishRequest>) -> Answered<pubsub::PublishResponse> {
        let pubsub::PublishRequest { topic, messages } = request.into_inner();
        let mut memory = self.memory();
        found(&memory.topics, &topic)?;
        let mut message_ids = Vec::new();
        for mut message in messages {
            message.message_id = memory.messages.len().to_string();
            message_ids.push(message.message_id.clone());
            memory.messages.push(message);
        }
        Ok(Response::new(pubsub::PublishResponse { message_ids }))
    }

    async fn get_topic(&self, request: Request<pubsub::GetTopicRequest>) -> Answered<Topic> {
        found(&self.memory().topics, &request.get_ref().topic).map(Response::new)
    }

    async fn list_topics(
        &self,
        request: Request<pubsub::ListTopicsRequest>,
    ) -> Answered<pubsub::ListTopicsResponse> {
        let pubsub::ListTopicsRequest { project, page_size, page_token } = request.into_inner();
        let (topics, next_page_token) =
            page(&self.memory().topics, &format!("{project}/"), page_size, &page_token);
        Ok(Response::new(pubsub::ListTopicsResponse { topics, next_page_token }))
    }

    async fn delete_topic(&self, request: Request<pubsub::DeleteTopicRequest>) -> Answered<()> {
        removed(&mut self.memory().topics, &request.get_ref().topic)
    }

    async fn pull(&self, request: Request<pubsub::PullRequest>) -> Answered<pubsub::PullResponse> {
        let most = usize::try_from(request.get_ref().max_messages).unwrap();
        let mut memory = self.memory();
        let taken = most.min(memory.messages.len());
        let received_messages = memory.messages.drain(..taken).collect();
        Ok(Response::new(pubsub::PullResponse { received_messages }))
    }

    async fn set_labels(&self, request: Request<pubsub::SetLabelsRequest>) -> Answered<Topic> {
        let pubsub::SetLabelsRequest { topic, labels } = request.into_inner();
        let changed = Topic { labels, ..found(&self.memory().topics, &topic)? };
        self.memory().topics.insert(topic, changed.clone());
        Ok(Response::new(changed))
    }
}

#[tonic::async_trait]
impl Operations for Server {
    async fn list_operations(
        &self,
        request: Request<lro::ListOperationsRequest>,
    ) -> Answered<lro::ListOperationsResponse> {
        let lro::ListOperationsRequest { name, page_size, page_token, .. } = request.into_inner();
        let (operations, next_page_token) =
            page(&self.memory().operations, &format!("{name}/"), page_size, &page_token);
        Ok(Response::new(lro::ListOperationsResponse { operations, next_page_token, ..Default::default() }))
    }

    async fn get_operation(&self, request: Request<lro::GetOperationRequest>) -> Answered<lro::Operation> {
        found(&self.memory().operations, &request.get_ref().name).map(Response::new)
    }

    async fn delete_operation(&self, request: Request<lro::DeleteOperationRequest>) -> Answered<()> {
        removed(&mut self.memory().operations, &request.get_ref().name)
    }

    async fn cancel_operation(&self, request: Request<lro::CancelOperationRequest>) -> Answered<()> {
        let mut memory = self.memory();
        let mut operation = found(&memory.operations, &request.get_ref().name)?;
        let cancelled =
            generated::google::rpc::Status { code: 1, message: "cancelled".into(), details: vec![] };
        operation.result = Some(lro::operation::Result::Error(cancelled));
        memory.operations.insert(operation.name.clone(), operation);
        Ok(Response::new(()))
    }

    async fn wait_operation(&self, _: Request<lro::WaitOperationRequest>) -> Answered<lro::Operation> {
        Err(Status::unimplemented("it has no route of its own"))
    }
}

/// Asks, and expects this answer.
#[track_caller]
fn told(curl: &Curl, method: &str, path: &str, body: Value, answer: Value) {
    let Answer { status, body: text, .. } = curl.ask(method, path, &body);
    let expected = if answer.is_null() { 204 } else { 200 };
    assert_eq!(status, expected, "{method} {path}: {text}");
    let told: Value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    assert_eq!(told, answer, "{method} {path}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_as_the_guides_of_google_write_them_are_served() {
    let (url, _life) = Server::start().await;
    let gateway = Gateway::start_with(DESCRIPTORS, &["--upstream", &url]);
    let curl = gateway.curl();
    let none = Value::Null;

    let history = json!({"name": "shelves/history", "theme": "History"});
    told(&curl, "POST", "/v1/shelves?shelf_id=history", json!({"theme": "History"}), history.clone());
    let (shelf, poems) = (json!({"theme": "Poems"}), json!({"name": "shelves/poems", "theme": "Poems"}));
    told(&curl, "POST", "/v1/shelves?shelfId=poems", shelf, poems.clone());
    told(&curl, "GET", "/v1/shelves/history", none.clone(), history.clone());
    let first = json!({"shelves": [history], "next_page_token": "shelves/history"});
    told(&curl, "GET", "/v1/shelves?page_size=1", none.clone(), first);
    let second = json!({"shelves": [poems], "next_page_token": ""});
    told(&curl, "GET", "/v1/shelves?page_size=1&page_token=shelves%2Fhistory", none.clone(), second);
    // The mask is what the body has, but for the name that the path has.
    let verse = json!({"name": "shelves/poems", "theme": "Verse"});
    told(&curl, "PATCH", "/v1/shelves/poems", json!({"theme": "Verse"}), verse.clone());
    told(&curl, "PATCH", "/v1/shelves/poems", verse.clone(), verse.clone());
    told(&curl, "PATCH", "/v1/shelves/poems?update_mask=theme", json!({"theme": "Verse"}), verse);
    let other = curl.ask("PATCH", "/v1/shelves/poems", &json!({"name": "shelves/other"}));
    assert_eq!(other.status, 400, "{}", other.body);
    assert_eq!(other.json()["details"]["field_violations"][0]["field"], "shelf.name");

    let book = |shelf: &str, title: &str| {
        let name = format!("shelves/{shelf}/books/annals");
        json!({"name": name, "author": "Tacitus", "title": title, "read": false})
    };
    let annals = json!({"author": "Tacitus", "title": "Annals"});
    told(&curl, "POST", "/v1/shelves/history/books?book_id=annals", annals, book("history", "Annals"));
    told(&curl, "GET", "/v1/shelves/history/books/annals", none.clone(), book("history", "Annals"));
    for shelf in ["history", "-"] {
        let books = json!({"books": [book("history", "Annals")], "next_page_token": ""});
        told(&curl, "GET", &format!("/v1/shelves/{shelf}/books"), none.clone(), books);
    }
    let names = "/v1/shelves/history/books:batchGet?names=shelves/history/books/annals";
    told(&curl, "GET", names, none.clone(), json!({"books": [book("history", "Annals")]}));
    let change = json!({"title": "Ab excessu divi Augusti", "author": "nobody"});
    let masked = "/v1/shelves/history/books/annals?updateMask=title";
    told(&curl, "PATCH", masked, change, book("history", "Ab excessu divi Augusti"));
    let moved = book("poems", "Ab excessu divi Augusti");
    let to = json!({"other_shelf": "shelves/poems"});
    told(&curl, "POST", "/v1/shelves/history/books/annals:move", to, moved);
    assert_eq!(curl.get("/v1/shelves/history/books/annals").status, 404);
    told(&curl, "DELETE", "/v1/shelves/poems/books/annals", none.clone(), none.clone());
    let merged = json!({"name": "shelves/poems", "theme": "Verse"});
    told(&curl, "POST", "/v1/shelves/poems:merge", json!({"other_shelf": "shelves/history"}), merged);
    told(&curl, "DELETE", "/v1/shelves/poems", none.clone(), none.clone());
    let wrong = curl.ask("PUT", "/v1/shelves/poems", &json!({}));
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("DELETE, GET, HEAD, OPTIONS, PATCH")));

    let topic = |labels: Value| json!({"name": "projects/p/topics/t", "labels": labels, "kms_key_name": ""});
    told(&curl, "PUT", "/v1/projects/p/topics/t", json!({}), topic(json!({})));
    told(&curl, "GET", "/v1/projects/p/topics/t", none.clone(), topic(json!({})));
    let change = json!({"topic": {"labels": {"a": "b"}}, "updateMask": "labels"});
    told(&curl, "PATCH", "/v1/projects/p/topics/t", change, topic(json!({"a": "b"})));
    let labels = json!({"c": "d"});
    told(&curl, "POST", "/v1/projects/p/topics/t/labels", labels.clone(), labels.clone());
    let listed = json!({"topics": [topic(labels)], "next_page_token": ""});
    told(&curl, "GET", "/v1/projects/p/topics", none.clone(), listed);
    let messages = json!({"messages": [{"data": "aGk=", "attributes": {"k": "v"}}, {"data": ""}]});
    let ids = json!({"message_ids": ["0", "1"]});
    told(&curl, "POST", "/v1/projects/p/topics/t:publish", messages, ids);
    let received =
        json!({"received_messages": [{"data": "aGk=", "attributes": {"k": "v"}, "message_id": "0"}]});
    told(&curl, "POST", "/v1/projects/p/topics/t:pull", json!({"maxMessages": 1}), received);
    told(&curl, "DELETE", "/v1/projects/p/topics/t", none.clone(), none.clone());
    assert_eq!(curl.get("/v1/projects/p/topics/t").status, 404);

    let mut operation = json!({
        "name": "operations/shelves/history/import",
        "metadata": {"@type": "type.googleapis.com/library.v1.ImportBooksMetadata", "parent": "shelves/history"},
        "done": true,
        "response": {"@type": "type.googleapis.com/library.v1.ImportBooksResponse", "count": 1},
    });
    let books = json!({"books": [{"title": "Annals"}]});
    told(&curl, "POST", "/v1/shelves/history/books:import", books, operation.clone());
    let place = "/v1/operations/shelves/history/import";
    told(&curl, "GET", place, none.clone(), operation.clone());
    told(&curl, "POST", &format!("{place}:wait"), json!({"timeout": "10s"}), operation.clone());
    let listed = curl.get("/v1/operations?filter=done&page_size=5").json();
    assert_eq!(listed["operations"], json!([operation]));
    told(&curl, "POST", &format!("{place}:cancel"), none.clone(), none.clone());
    operation.as_object_mut().unwrap().remove("response");
    operation["error"] = json!({"code": 1, "message": "cancelled", "details": []});
    told(&curl, "GET", place, none.clone(), operation);
    told(&curl, "DELETE", place, none.clone(), none);
    assert_eq!(curl.get(place).status, 404);
}

/// OpenAPI takes paths that differ in the names of their parameters alone for one path that stands there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_stands_in_the_document_once_under_whatever_names() {
    let gateway = Gateway::start_with(DESCRIPTORS, &["--upstream", "http://127.0.0.1:9"]);
    let document = gateway.curl().get("/api/v2/openapi.json").json();
    let paths = document["paths"].as_object().unwrap();
    let mut shapes: Vec<String> = paths
        .keys()
        .map(|path| {
            let parts = path.split('/').map(|it| it.split_once('}').map_or(it, |(_, verb)| verb));
            parts.collect::<Vec<_>>().join("/")
        })
        .collect();
    shapes.sort_unstable();
    assert!(shapes.windows(2).all(|pair| pair[0] != pair[1]), "{shapes:?}");
    let methods = |path: &str| {
        let mut methods: Vec<&String> = paths[path].as_object().unwrap().keys().collect();
        methods.sort_unstable();
        methods
    };
    assert_eq!(methods("/v1/shelves/{name}"), ["delete", "get", "patch"]);
    assert_eq!(methods("/v1/projects/{name_1}/topics/{name_2}"), ["delete", "get", "patch", "put"]);
    let patch = &paths["/v1/shelves/{name}"]["patch"]["parameters"][0];
    assert_eq!((&patch["name"], &patch["in"]), (&json!("name"), &json!("path")));
    // Those of googleapis that are not ours.
    for path in ["/v1/locations", "/v1/projects/{name_1}/locations/{name_2}", "/v1/operations/{name}:cancel"]
    {
        assert!(paths.contains_key(path), "{path} of {:?}", paths.keys());
    }
}
