//! The tables as `migrations/` makes them. Times are microseconds since 1970;
//! `definition`, `data`, `needs`, `aliases`, `leftovers` and `restart_times` are JSON.
#![expect(unreachable_pub, reason = "sea-orm's derives write `pub`, whatever the module says")]

macro_rules! table {
    ($module:ident = $name:literal { $($(#[$attribute:meta])* $field:ident: $kind:ty,)* }) => {
        pub(crate) mod $module {
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, DeriveEntityModel)]
            #[sea_orm(table_name = $name)]
            pub struct Model { $($(#[$attribute])* pub $field: $kind,)* }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            impl ActiveModelBehavior for ActiveModel {}
        }
    };
}

table!(groups = "groups" {
    #[sea_orm(primary_key, auto_increment = false)]
    id: String,
    name: String,
    instance: String,
    #[serde(skip)]
    definition: String,
    created_at: i64,
    updated_at: i64,
});

table!(group_dependencies = "group_dependencies" {
    #[sea_orm(primary_key, auto_increment = false)]
    #[serde(skip)]
    group_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    position: i32,
    needs_name: String,
    needs_instance: String,
    needs_service: Option<String>,
});

table!(services = "services" {
    #[sea_orm(primary_key, auto_increment = false)]
    id: String,
    group_id: String,
    name: String,
    start_order: i32,
    description: String,
    #[serde(skip)]
    search: String,
    #[serde(skip)]
    definition: String,
    generation: i64,
    desired: String,
    observed: String,
    health: String,
    exit_code: Option<i32>,
    observed_at: Option<i64>,
    container_id: Option<String>,
    step_action: Option<String>,
    status: String,
    status_reason: Option<String>,
    status_detail: String,
    #[serde(skip)]
    restart_times: String,
    started_at: Option<i64>,
    stopped_at: Option<i64>,
    created_at: i64,
    updated_at: i64,
    ended_by: Option<String>,
    #[serde(deserialize_with = "crate::whole::flag")]
    paused: bool,
});

table!(service_environment = "service_environment" {
    #[sea_orm(primary_key, auto_increment = false)]
    #[serde(skip)]
    service_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    key: String,
    position: i32,
    value: String,
});

table!(service_tags = "service_tags" {
    #[sea_orm(primary_key, auto_increment = false)]
    #[serde(skip)]
    service_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    position: i32,
    tag: String,
});

table!(service_ports = "service_ports" {
    #[sea_orm(primary_key, auto_increment = false)]
    #[serde(skip)]
    service_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    position: i32,
    container_port: i32,
    host_port: Option<i32>,
    host_port_end: Option<i32>,
    host_ip: Option<String>,
    protocol: String,
});

table!(service_volumes = "service_volumes" {
    #[sea_orm(primary_key, auto_increment = false)]
    #[serde(skip)]
    service_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    position: i32,
    kind: String,
    source: Option<String>,
    target: String,
    #[serde(deserialize_with = "crate::whole::flag")]
    read_only: bool,
    #[serde(deserialize_with = "crate::whole::flag")]
    create_host_path: bool,
    propagation: Option<String>,
    selinux: Option<String>,
    #[serde(deserialize_with = "crate::whole::flag")]
    no_copy: bool,
    subpath: Option<String>,
    size: Option<i64>,
    mode: Option<i64>,
});

table!(service_networks = "service_networks" {
    #[sea_orm(primary_key, auto_increment = false)]
    #[serde(skip)]
    service_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    position: i32,
    network: String,
    aliases: String,
    ipv4_address: Option<String>,
    ipv6_address: Option<String>,
    mac_address: Option<String>,
});

table!(service_dependencies = "service_dependencies" {
    #[sea_orm(primary_key, auto_increment = false)]
    #[serde(skip)]
    service_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    position: i32,
    needs: String,
    condition: String,
    #[serde(deserialize_with = "crate::whole::flag")]
    required: bool,
    #[serde(deserialize_with = "crate::whole::flag")]
    restart: bool,
});

table!(service_aliases = "service_aliases" {
    #[sea_orm(primary_key, auto_increment = false)]
    alias: String,
    service_id: String,
});

table!(ports = "ports" {
    #[sea_orm(primary_key, auto_increment = false)]
    host_port: i32,
    #[sea_orm(primary_key, auto_increment = false)]
    protocol: String,
    #[serde(skip)]
    service_id: String,
    container_port: i32,
    host_ip: String,
    leased_at: i64,
});

table!(operations = "operations" {
    #[sea_orm(primary_key, auto_increment = false)]
    id: String,
    verb: String,
    group_id: String,
    group_name: String,
    group_instance: String,
    service_id: Option<String>,
    state: String,
    reason: Option<String>,
    message: String,
    policy: String,
    #[serde(deserialize_with = "crate::whole::flag")]
    cancel_requested: bool,
    leftovers: String,
    request_id: String,
    created_at: i64,
    started_at: Option<i64>,
    ended_at: Option<i64>,
});

table!(operation_steps = "operation_steps" {
    #[sea_orm(primary_key, auto_increment = false)]
    #[serde(skip)]
    operation_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    number: i32,
    service_id: Option<String>,
    service_name: Option<String>,
    subject: String,
    action: String,
    why: String,
    needs: String,
    state: String,
    reason: Option<String>,
    message: String,
    started_at: Option<i64>,
    ended_at: Option<i64>,
});

table!(journal_head = "journal_head" {
    #[sea_orm(primary_key, auto_increment = false)]
    id: i32,
    seq: i64,
});

table!(journal = "journal" {
    #[sea_orm(primary_key, auto_increment = false)]
    seq: i64,
    kind: String,
    severity: String,
    service_id: Option<String>,
    group_name: Option<String>,
    group_instance: Option<String>,
    operation_id: Option<String>,
    data: String,
    at: i64,
});

table!(config = "config" {
    #[sea_orm(primary_key, auto_increment = false)]
    key: String,
    value: String,
});

table!(adopted_containers = "adopted_containers" {
    #[sea_orm(primary_key, auto_increment = false)]
    container_id: String,
    service_id: String,
    config_hash: String,
});

table!(port_ranges = "port_ranges" {
    #[sea_orm(primary_key, auto_increment = false)]
    position: i32,
    project: String,
    first_port: i32,
    last_port: i32,
});

table!(service_anonymous_volumes = "service_anonymous_volumes" {
    #[sea_orm(primary_key, auto_increment = false)]
    #[serde(skip)]
    service_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    number: i32,
    #[sea_orm(primary_key, auto_increment = false)]
    target: String,
    volume: String,
});

table!(service_made_from = "service_made_from" {
    #[sea_orm(primary_key, auto_increment = false)]
    service_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    spec_hash: String,
    made_from: String,
});
