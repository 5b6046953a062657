//! The one gate between the store and either database.
//!
//! PostgreSQL refuses a text with NUL, SQLite keeps it. Text of the engine is cleaned where it comes in; whatever is
//! missed there is cleaned here, so that an engine's odd word never fails a commit on one of the two only.

use async_trait::async_trait;
use clos_domain::text::without_nul;
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement, Value,
};

/// A transaction whose statements carry no NUL.
pub(crate) struct Connection(DatabaseTransaction);

impl Connection {
    pub(crate) fn new(transaction: DatabaseTransaction) -> Self {
        Self(transaction)
    }

    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        self.0.commit().await
    }
}

fn cleaned(mut statement: Statement) -> Statement {
    for value in statement.values.iter_mut().flat_map(|values| &mut values.0) {
        if let Value::String(Some(text)) = value
            && text.contains('\0')
        {
            let clean = without_nul(text).into_owned();
            *value = clean.into();
        }
    }
    statement
}

#[async_trait]
impl ConnectionTrait for Connection {
    fn get_database_backend(&self) -> DbBackend {
        self.0.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.0.execute_raw(cleaned(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.0.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.0.query_one_raw(cleaned(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.0.query_all_raw(cleaned(statement)).await
    }
}
