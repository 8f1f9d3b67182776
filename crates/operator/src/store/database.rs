//! The file behind the embedded store: SQLite, one row per object, its JSON as the body. Values of Secrets are sealed in it ([`super::seal`]).
//!
//! Write-ahead log with `synchronous=FULL`: a commit is on disk before it is acknowledged, so neither SIGKILL nor a power cut
//! loses it (<https://www.sqlite.org/pragma.html#pragma_synchronous>). The file is locked exclusively while it is open.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_model::resource::{Kind, ObjectKey, Resource};
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};

use super::StoreError;
use super::body::{self, Fault};
use super::seal::{SealKey, Unopened};
use super::semantics::Delta;

/// Marks the file as Berth's: "Brth".
const APPLICATION_ID: i64 = 0x4272_7468;
/// The schema that this build writes. A change of schema adds a step to [`migrate`]. Since 2 there are Secrets, in the tables of 1.
const SCHEMA: i64 = 2;
const REMOVE: &str = "DELETE FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3";
/// How long to wait for a process that is just letting go of the file.
const BUSY: Duration = Duration::from_secs(2);

/// An open database, and the key that seals values of Secrets in it.
#[derive(Debug)]
pub(super) struct Database {
    file: File,
    key: SealKey,
}

/// A database file.
#[derive(Debug)]
struct File {
    connection: Connection,
    path: PathBuf,
}

/// What a database held when it was opened.
pub(super) struct Loaded {
    pub(super) objects: Vec<Resource>,
    pub(super) version: u64,
}

impl Database {
    /// Opens or makes the file at `path`. Values of Secrets are sealed with the key in `key_file`, which is made where there is none;
    /// but for Secrets that another one sealed: they keep the database from being opened.
    pub(super) fn open(path: &Path, key_file: &Path) -> Result<(Database, Loaded), StoreError> {
        let file = File::open(path)?;
        let key = SealKey::read(key_file)?;
        let (loaded, unopened) = file.load(key.as_ref())?;
        let locked = unopened.iter().filter(|(_, fault)| matches!(fault, Fault::Unopened(_, Unopened::OtherKey))).count();
        if locked > 0 {
            let secrets = if locked == 1 { "1 Secret".to_owned() } else { format!("{locked} Secrets") };
            return Err(StoreError::KeyMissing { secrets, path: path.to_owned(), key: key_file.to_owned(), there: key.is_some() });
        }
        if let Some((object, fault)) = unopened.first() {
            return Err(file.corrupt(object.to_string(), fault.to_string()));
        }
        let key = key.map_or_else(|| SealKey::make(key_file), Ok)?;
        Ok((Database { file, key }, loaded))
    }

    /// A database that goes with the process, and so does its key.
    pub(super) fn in_memory() -> Result<(Database, Loaded), StoreError> {
        let path = PathBuf::from(":memory:");
        let connection = Connection::open_in_memory().map_err(|e| failed(&path, "open", e))?;
        let file = File { connection, path }.start()?;
        let key =
            SealKey::random().map_err(|source| StoreError::Io { path: "the system's random numbers".into(), source: Arc::new(source) })?;
        let (loaded, _) = file.load(Some(&key))?;
        Ok((Database { file, key }, loaded))
    }

    /// Removes the Secrets that don't open with the key in `key_file`, or without one if it isn't there. Returns them.
    pub(super) fn discard_unopened(path: &Path, key_file: &Path) -> Result<Vec<ObjectKey>, StoreError> {
        let mut file = File::open(path)?;
        let (_, unopened) = file.load(SealKey::read(key_file)?.as_ref())?;
        let unopened: Vec<ObjectKey> = unopened.into_iter().map(|(object, _)| object).collect();
        file.remove(&unopened).map_err(|e| failed(path, "remove Secrets", e))?;
        Ok(unopened)
    }

    pub(super) fn key(&self) -> &SealKey {
        &self.key
    }

    /// Makes `deltas` durable, all or none.
    pub(super) fn commit(&mut self, deltas: &[Delta], version: u64) -> Result<(), StoreError> {
        self.file.write(deltas, version, &self.key).map_err(|e| failed(&self.file.path, "write", e))
    }
}

impl File {
    fn open(path: &Path) -> Result<File, StoreError> {
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|source| StoreError::Io { path: folder.to_owned(), source: Arc::new(source) })?;
        }
        let connection = Connection::open(path).map_err(|e| failed(path, "open", e))?;
        let file = File { connection, path: path.to_owned() };
        file.configure().map_err(|e| failed(path, "open", e))?;
        file.start()
    }

    fn configure(&self) -> Result<(), rusqlite::Error> {
        self.connection.busy_timeout(BUSY)?;
        // Exclusive before WAL: then the index of the log is on the heap and no third file is needed.
        self.connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
        self.connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        self.connection.pragma_update(None, "synchronous", "FULL")
    }

    fn start(mut self) -> Result<File, StoreError> {
        self.check()?;
        self.migrate()?;
        Ok(self)
    }

    fn check(&self) -> Result<(), StoreError> {
        let found: String = self
            .connection
            .pragma_query_value(None, "quick_check", |row| row.get(0))
            .map_err(|e| failed(&self.path, "check its file", e))?;
        if found == "ok" { Ok(()) } else { Err(self.corrupt("the database".to_owned(), found)) }
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let path = self.path.clone();
        let fail = |e| failed(&path, "read its schema version", e);
        let id: i64 = self.connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(fail)?;
        let found: i64 = self.connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fail)?;
        let tables: i64 = self.connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fail)?;
        if id != APPLICATION_ID && (id != 0 || tables != 0) {
            return Err(StoreError::Foreign { path });
        }
        if found > SCHEMA {
            return Err(StoreError::Newer { path, found, known: SCHEMA });
        }
        let migrated = match found {
            SCHEMA => Ok(()),
            1 => self.connection.pragma_update(None, "user_version", SCHEMA),
            _ => self.create(),
        };
        migrated.map_err(|e| failed(&path, "make its tables", e))
    }

    fn create(&mut self) -> Result<(), rusqlite::Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(
            "CREATE TABLE objects (
                 kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
                 PRIMARY KEY (kind, namespace, name)
             ) WITHOUT ROWID;
             CREATE TABLE counter (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL);
             INSERT INTO counter VALUES (1, 0);",
        )?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
        transaction.commit()
    }

    /// All objects, but for Secrets that don't open, which come by themselves.
    fn load(&self, seal: Option<&SealKey>) -> Result<(Loaded, Vec<(ObjectKey, Fault)>), StoreError> {
        let fail = |e| failed(&self.path, "read its objects", e);
        let version: i64 = self.connection.query_row("SELECT version FROM counter", [], |row| row.get(0)).map_err(fail)?;
        let version = u64::try_from(version).map_err(|_| self.corrupt("the version counter".to_owned(), format!("it is {version}")))?;
        let mut statement = self.connection.prepare("SELECT kind, namespace, name, body FROM objects").map_err(fail)?;
        let rows = statement
            .query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?))
            })
            .map_err(fail)?;
        let (mut objects, mut unopened) = (Vec::new(), Vec::new());
        for row in rows {
            let (kind, namespace, name, body) = row.map_err(fail)?;
            let key = format!("{kind} {namespace}/{name}");
            let Some(kind) = Kind::ALL.into_iter().find(|known| known.as_str() == kind) else {
                return Err(self.corrupt(key, "no such kind is known".to_owned()));
            };
            let place = ObjectKey { kind, namespace, name };
            match body::read(&place, &body, seal) {
                Ok(object) if object.key() == place => objects.push(object),
                Ok(object) => return Err(self.corrupt(key, format!("its body is of {}", object.key()))),
                Err(Fault::Corrupt(detail)) => return Err(self.corrupt(key, detail)),
                Err(fault) => unopened.push((place, fault)),
            }
        }
        Ok((Loaded { objects, version }, unopened))
    }

    fn write(&mut self, deltas: &[Delta], version: u64, key: &SealKey) -> Result<(), rusqlite::Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut put = transaction.prepare("INSERT OR REPLACE INTO objects (kind, namespace, name, body) VALUES (?1, ?2, ?3, ?4)")?;
            let mut remove = transaction.prepare(REMOVE)?;
            for delta in deltas {
                let ObjectKey { kind, namespace, name } = delta.key();
                match &delta.after {
                    Some(object) => {
                        let body = body::write(object, key).map_err(rusqlite::Error::ToSqlConversionFailure)?;
                        put.execute(params![kind.as_str(), namespace, name, body])?;
                    }
                    None => {
                        remove.execute(params![kind.as_str(), namespace, name])?;
                    }
                }
            }
        }
        transaction.execute("UPDATE counter SET version = ?1", [version.cast_signed()])?;
        transaction.commit()
    }

    fn remove(&mut self, objects: &[ObjectKey]) -> Result<(), rusqlite::Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for ObjectKey { kind, namespace, name } in objects {
            transaction.execute(REMOVE, params![kind.as_str(), namespace, name])?;
        }
        transaction.commit()
    }

    fn corrupt(&self, key: String, detail: String) -> StoreError {
        StoreError::Corrupt { key, path: self.path.clone(), detail }
    }
}

/// Says what a failure of SQLite means for the store.
fn failed(path: &Path, doing: &'static str, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse { path: path.to_owned() },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Corrupt { key: "the database".to_owned(), path: path.to_owned(), detail: error.to_string() }
        }
        _ => StoreError::Database { doing, source: Arc::new(error) },
    }
}
