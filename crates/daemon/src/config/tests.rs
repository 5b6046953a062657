use std::fs;

use tempfile::TempDir;

use super::*;

struct World {
    temp: TempDir,
    sources: Sources,
}

impl World {
    fn new() -> Self {
        let temp = TempDir::new().unwrap();
        let home = temp.path().join(".clos");
        fs::create_dir(&home).unwrap();
        let sources = Sources { home, user_home: Some(temp.path().to_owned()), ..Sources::default() };
        Self { temp, sources }
    }

    fn file(self, text: &str) -> Self {
        fs::write(self.sources.home.join("closd.yaml"), text).unwrap();
        self
    }

    fn v1(self, text: &str) -> Self {
        fs::write(self.sources.home.join("config.yaml"), text).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    fn flag(mut self, flag: &str, key: &str, value: &str) -> Self {
        self.sources.flags.push((flag.to_owned(), key.to_owned(), value.to_owned()));
        self
    }

    fn load(&self) -> Effective {
        load(&self.sources).unwrap()
    }

    /// The error, with the temporary folder written as `~`.
    fn error(&self) -> String {
        let error = load(&self.sources).unwrap_err().to_string();
        error.replace(self.temp.path().to_str().unwrap(), "~")
    }
}

#[test]
fn without_any_source_the_defaults_hold() {
    let loaded = World::new().load();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.settings.iter().all(|setting| setting.origin == Origin::Default));
    assert!(loaded.warnings.is_empty());
    assert_eq!(loaded.config.server.listen, Listen::loopback(8_080));
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_version_1() {
    let world = World::new()
        .v1("logging: {level: debug, format: json}\ndocker: {host: 'tcp://v1:2375'}\n")
        .file("log:\n  level: warn\nserver:\n  listen: 9000\n  max_connections: 10\nengine:\n")
        .variable("CLOSD_SERVER__LISTEN", "[::1]:9001")
        .variable("CLOSD_SERVER__MAX_CONNECTIONS", "20")
        .variable("HOME", "/nobody")
        .flag("--listen", "server.listen", "9002");
    let loaded = world.load();
    assert_eq!(loaded.config.server.listen, Listen::loopback(9_002));
    assert_eq!(loaded.config.server.max_connections, 20);
    assert_eq!(loaded.config.log.level, "warn");
    assert_eq!(loaded.config.engine.host.as_deref(), Some("tcp://v1:2375"));
    assert_eq!(loaded.origin("server.listen"), &Origin::Flag("--listen".into()));
    let variable = Origin::Environment("CLOSD_SERVER__MAX_CONNECTIONS".into());
    assert_eq!(loaded.origin("server.max_connections"), &variable);
    assert_eq!(loaded.origin("log.level"), &Origin::File(world.sources.home.join("closd.yaml")));
    assert_eq!(loaded.origin("log.format"), &Origin::V1(world.sources.home.join("config.yaml")));
    assert_eq!(loaded.origin("server.tcp"), &Origin::Default);
}

#[test]
fn text_from_the_environment_takes_the_type_that_the_setting_has() {
    let loaded = World::new()
        .variable("CLOSD_SERVER__TCP", "false")
        .variable("CLOSD_SERVER__HOSTS", "devbox, devbox:9000,")
        .variable("CLOSD_ROOTS", "~/shared,/srv/common")
        .variable("CLOSD_SERVER__REQUEST_TIMEOUT", "250ms")
        .variable("CLOSD_ENGINE__CONTEXT", "17")
        .variable("CLOSD_LOG__FORMAT", "json")
        .load();
    let config = &loaded.config;
    assert!(!config.server.tcp);
    assert_eq!(config.server.hosts, ["devbox", "devbox:9000"]);
    assert_eq!(config.roots[1], Path::new("/srv/common"));
    assert!(config.roots[0].is_absolute() && config.roots[0].ends_with("shared"), "{:?}", config.roots);
    assert_eq!(config.server.request_timeout, Span(std::time::Duration::from_millis(250)));
    assert_eq!(config.engine.context.as_deref(), Some("17"), "a name made of digits is a name");
}

#[test]
fn every_unknown_key_is_named_with_its_place_and_the_nearest_one() {
    let world = World::new()
        .file("server:\n  listne: 9000\nsever:\n  tcp: true\nlog: loud\ncolour: green\nport: 3\n")
        .variable("CLOSD_SERVER__LISTNE", "9000")
        .flag("--set", "journal.kep", "3");
    insta::assert_snapshot!(world.error(), @r#"
    ~/.clos/closd.yaml: server.listne: there is no such setting; did you mean `server.listen`?
    ~/.clos/closd.yaml: sever.tcp: there is no such setting; did you mean `server.tcp`?
    ~/.clos/closd.yaml: log: this is a section; its settings stand below it
    ~/.clos/closd.yaml: colour: there is no such setting; `closd config` lists them
    ~/.clos/closd.yaml: port: there is no such setting; `closd config` lists them
    environment CLOSD_SERVER__LISTNE: server.listne: there is no such setting; did you mean `CLOSD_SERVER__LISTEN`?
    flag --set: journal.kep: there is no such setting; did you mean `journal.keep`?
    "#);
}

#[test]
fn every_value_that_cannot_be_is_named_with_its_place() {
    let world = World::new()
        .file("server:\n  max_connections: many\n  request_timeout: soon\n  hosts: devbox\nlog:\n  format: xml\n")
        .variable("CLOSD_SERVER__TCP", "perhaps")
        .variable("CLOSD_SERVER__LISTEN", "example.com");
    insta::assert_snapshot!(world.error(), @r#"
    ~/.clos/closd.yaml: server.max_connections: `many` cannot be used: invalid type: string "many", expected u32
    ~/.clos/closd.yaml: server.request_timeout: `soon` cannot be used: invalid value: string "soon", expected a length of time such as 250ms, 30s, 1h30m or 7d
    ~/.clos/closd.yaml: server.hosts: `devbox` cannot be used: invalid type: string "devbox", expected a sequence
    ~/.clos/closd.yaml: log.format: `xml` cannot be used: unknown variant `xml`, expected `text` or `json`
    environment CLOSD_SERVER__LISTEN: server.listen: `example.com` cannot be used: invalid value: string "example.com", expected an IP address with a port such as 127.0.0.1:8080, or a port
    environment CLOSD_SERVER__TCP: server.tcp: `perhaps` cannot be used: invalid type: string "perhaps", expected a boolean
    "#);
}

#[test]
fn what_would_be_dangerous_or_useless_is_refused_with_the_way_out() {
    let world = World::new()
        .file("store: {url: 'mysql://ann:secret@db/x'}\nroots: [relative, /, '~']\nlog: {file: closd.log}\n")
        .variable("CLOSD_SERVER__MAX_IN_FLIGHT", "0")
        .variable("CLOSD_SERVER__HEADER_TIMEOUT", "0s")
        .flag("--listen", "server.listen", "0.0.0.0:8080");
    insta::assert_snapshot!(world.error(), @r#"
    flag --listen: server.listen: `0.0.0.0:8080` is not a loopback address, and nothing else is served without TLS; use 127.0.0.1 or [::1]
    environment CLOSD_SERVER__MAX_IN_FLIGHT: server.max_in_flight: `0` would let nothing through; use 1 or more
    environment CLOSD_SERVER__HEADER_TIMEOUT: server.header_timeout: `0s` would end everything at once; use 1s or more
    ~/.clos/closd.yaml: log.file: `closd.log` is not absolute; write the whole path
    ~/.clos/closd.yaml: store.url: `mysql://ann:********@db/x` is not a store; use sqlite:///absolute/path or postgres://…
    ~/.clos/closd.yaml: roots: `relative` is not absolute; write the whole path
    ~/.clos/closd.yaml: roots: `/` holds the whole home folder; name a folder below it
    ~/.clos/closd.yaml: roots: `~` holds the whole home folder; name a folder below it
    "#);
    let v1_database = World::new().flag("--store", "store.url", "sqlite:///home/ann/.clos/registry.db");
    assert!(v1_database.error().contains("the database of version 1"), "{}", v1_database.error());
    let relative = World::new().flag("--store", "store.url", "sqlite://clos.db");
    assert!(relative.error().contains("use sqlite:///absolute/path"), "{}", relative.error());
    let open_but_off =
        World::new().flag("--listen", "server.listen", "0.0.0.0:1").flag("--no-tcp", "server.tcp", "false");
    assert!(!open_but_off.load().config.server.tcp, "nothing is served there");
}

#[test]
fn a_file_that_is_no_yaml_or_is_not_there_is_named() {
    let broken = World::new().file("server: [\n");
    assert!(broken.error().starts_with("~/.clos/closd.yaml: "), "{}", broken.error());
    let list = World::new().file("- server\n");
    assert_eq!(list.error(), "~/.clos/closd.yaml: it is not a mapping of sections");
    let twice = World::new().file("server:\n  tcp: true\n  tcp: false\n");
    assert!(twice.error().contains("tcp"), "{}", twice.error());
    let mut absent = World::new();
    absent.sources.file = Some(absent.temp.path().join("absent.yaml"));
    assert_eq!(absent.error(), "~/absent.yaml cannot be read");
    let large = World::new().file(&"#".repeat(1024 * 1024 + 1));
    assert_eq!(large.error(), "~/.clos/closd.yaml cannot be read");
}

#[test]
fn a_named_file_stands_in_the_place_of_the_usual_one() {
    let mut world = World::new().file("server: {tcp: true}\n");
    let other = world.temp.path().join("other.yaml");
    fs::write(&other, "server: {tcp: false}\n").unwrap();
    world.sources.file = Some(other.clone());
    let loaded = world.load();
    assert!(!loaded.config.server.tcp);
    assert_eq!(loaded.file, other);
}

#[test]
fn of_version_1_only_what_maps_is_taken() {
    let loaded = World::new()
        .v1("database: {path: ~/.clos/registry.db, timeout: 30}\ndashboard: {port: 0, host: 0.0.0.0}\n\
             docker: {host: 'unix:///var/run/docker.sock'}\nlogging: {level: WARNING, format: fancy, file: clos.log}\n\
             port_ranges: [{project: core, start_port: 5000, end_port: 5999}]\n")
        .load();
    assert_eq!(loaded.config.log.level, "warn");
    let changed: Vec<&str> = loaded
        .settings
        .iter()
        .filter(|setting| setting.origin != Origin::Default)
        .map(|setting| setting.key.as_str())
        .collect();
    assert_eq!(changed, ["log.level"]);
    let with_file = World::new().v1("logging: {file: ~/clos.log}\n");
    assert_eq!(with_file.load().config.log.file, Some(with_file.temp.path().join("clos.log")));
}

#[test]
fn a_broken_file_of_version_1_is_a_warning() {
    let loaded = World::new().v1("docker: [\n").load();
    assert_eq!(loaded.config, Config::default());
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert!(warning.contains("config.yaml of version 1 is passed over"), "{warning}");
}

#[test]
fn what_is_shown_is_a_file_that_gives_the_same_and_hides_passwords() {
    let world = World::new()
        .file("store: {url: 'postgres://ann:s3cret@db/clos'}\nserver: {hosts: [devbox]}\n")
        .variable("CLOSD_JOURNAL__MAX_AGE", "48h");
    let loaded = world.load();
    for explain in [false, true] {
        let text = loaded.render(explain);
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains("max_age: \"2d\""), "{text}");
        let again = World::new().file(&text).load();
        assert_eq!(again.config.journal, loaded.config.journal);
        assert_eq!(again.config.server, loaded.config.server);
    }
    let text = loaded.render(false).replace(world.temp.path().to_str().unwrap(), "~");
    assert!(text.contains("# environment CLOSD_JOURNAL__MAX_AGE"), "{text}");
    assert!(text.contains("# ~/.clos/closd.yaml"), "{text}");
}

#[test]
fn every_setting_is_explained_and_shown() {
    let loaded = World::new().load();
    let text = loaded.render(true);
    for setting in &loaded.settings {
        let key = setting.key.rsplit('.').next().unwrap();
        assert!(text.contains(&format!("{key}: ")), "{}", setting.key);
    }
    insta::assert_snapshot!(text.replace(loaded.file.to_str().unwrap(), "~/.clos/closd.yaml"));
}
