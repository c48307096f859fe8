//! A real PostgreSQL and a real pgbouncer from Debian's packages, each on a free port with a folder of its own.
//!
//! The store's unit tests use this file too. A server ends with the test process, however that ends: a shell waits for the end of its standard
//! input and then stops it. Neither program runs as root, so root gives them to the user that the package made.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread::sleep,
    time::Duration,
};

/// Where Debian puts the server's programs, the newest version last.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Runs a program until told otherwise by the name of a signal; at the end of its input it also removes the folder.
const KEEPER: &str = r#"folder=$1; shift; "$@" & child=$!
if read -r signal; then kill -s "$signal" $child; wait $child; else kill -s INT $child; wait $child; rm -rf "$folder"; fi"#;

/// A database server.
pub(crate) struct Postgres {
    folder: PathBuf,
    port: u16,
    keeper: Mutex<Option<Child>>,
    n_databases: AtomicU32,
}

/// One for all tests of this process that do not stop it.
pub(crate) static SHARED: LazyLock<Postgres> = LazyLock::new(Postgres::start);

impl Postgres {
    /// Makes and starts one. It flushes to the disk as it does for users.
    pub(crate) fn start() -> Self {
        let folder = private_folder("filmgate-postgres-");
        let port = free_port();
        let data = folder.join("data");
        let mut initdb = own_user(&program("initdb"));
        // Not the order of bytes, so that the tests see whether anything depends on the language of the database.
        initdb.args(["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"]);
        initdb.args(["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"]);
        let made = initdb.arg("-D").arg(&data).output().expect("initdb starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let server = Self { folder, port, keeper: Mutex::default(), n_databases: AtomicU32::new(0) };
        server.resume();
        server
    }

    /// The address of a new empty database.
    pub(crate) fn database(&self) -> String {
        self.database_like("template1")
    }

    /// The address of a new database with all that is in the one of this name.
    pub(crate) fn database_like(&self, template: &str) -> String {
        let name = format!("test_{}", self.n_databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}"));
        self.url(&name)
    }

    /// The address of a database.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs SQL in a database of this name; its answer as text.
    pub(crate) fn sql(&self, database: &str, text: &str) -> String {
        psql(&self.url(database), text)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn data_folder(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Gives a file to the server alone.
    pub(crate) fn give(file: &Path) {
        if let Some((user, group)) = server_user() {
            chown(file, Some(user), Some(group)).unwrap();
        }
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Ends it like a crash, or by another signal, and waits for its end.
    pub(crate) fn stop(&self, signal: &str) {
        let mut keeper = self.keeper.lock().unwrap().take().expect("it runs");
        writeln!(keeper.stdin.take().unwrap(), "{signal}").unwrap();
        keeper.wait().unwrap();
    }

    /// Starts it again on the same data and port, and waits until it answers.
    pub(crate) fn resume(&self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut keeper = kept(&self.folder, &program("postgres"));
        keeper.arg("-D").arg(self.data_folder()).args(["-p", &self.port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=400",
            "shared_buffers=64MB",
            "log_min_messages=warning",
        ] {
            keeper.args(["-c", setting]);
        }
        let keeper = keeper.stdout(log.try_clone().unwrap()).stderr(log).spawn().expect("sh starts");
        *self.keeper.lock().unwrap() = Some(keeper);
        let port = self.port.to_string();
        until_it_answers(&self.folder, || {
            let asked = Command::new("pg_isready").args(["-q", "-h", "127.0.0.1", "-p", &port]).status();
            asked.expect("pg_isready starts").success()
        });
    }
}

/// A pooler in transaction mode before a server.
pub(crate) struct Pooler {
    port: u16,
    _keeper: Child,
}

impl Pooler {
    pub(crate) fn start(server: &Postgres) -> Self {
        let folder = private_folder("filmgate-pgbouncer-");
        let (port, to) = (free_port(), server.port());
        let (settings, users) = (folder.join("pgbouncer.ini"), folder.join("users"));
        fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={to}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\npool_mode = transaction\nmax_client_conn = 1000\ndefault_pool_size = 10\n",
            users.display(),
        );
        fs::write(&settings, text).unwrap();
        let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let mut keeper = kept(&folder, Path::new("pgbouncer"));
        // Debian has it where only administrators look.
        keeper.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let keeper = keeper.arg(&settings).stdout(log.try_clone().unwrap()).stderr(log).spawn().expect("sh starts");
        let pooler = Self { port, _keeper: keeper };
        let url = pooler.through(&server.url("postgres"));
        until_it_answers(&folder, || {
            Command::new("psql").arg(&url).args(["-qAtc", "SELECT 1"]).output().unwrap().status.success()
        });
        pooler
    }

    /// The address of the same database, through this pooler.
    pub(crate) fn through(&self, url: &str) -> String {
        let (start, name) = url.rsplit_once('/').expect("an address with a name");
        let (host, _) = start.rsplit_once(':').expect("an address with a port");
        format!("{host}:{}/{name}", self.port)
    }
}

/// Runs SQL at this address; its answer as text.
pub(crate) fn psql(url: &str, text: &str) -> String {
    let asked = Command::new("psql").arg(url).args(["-v", "ON_ERROR_STOP=1", "-qAtc", text]).output();
    let asked = asked.expect("psql starts");
    assert!(asked.status.success(), "{text}: {}", String::from_utf8_lossy(&asked.stderr));
    String::from_utf8(asked.stdout).unwrap().trim().to_owned()
}

fn kept(folder: &Path, program: &Path) -> Command {
    let mut keeper = own_user(Path::new("sh"));
    keeper.args(["-c", KEEPER, "sh"]).arg(folder).arg(program).stdin(Stdio::piped());
    keeper
}

fn until_it_answers(folder: &Path, mut answers: impl FnMut() -> bool) {
    // Half a minute in all.
    for _ in 0..1500 {
        if answers() {
            return;
        }
        sleep(Duration::from_millis(20));
    }
    panic!("no answer:\n{}", fs::read_to_string(folder.join("log")).unwrap_or_default());
}

fn program(name: &str) -> PathBuf {
    let mut versions: Vec<PathBuf> = fs::read_dir(VERSIONS)
        .expect("the Debian package postgresql is installed (scripts/tools)")
        .map(|entry| entry.unwrap().path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    versions.sort();
    versions.pop().expect("a server's programs")
}

/// As the user postgres if this is root.
fn own_user(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = server_user() {
        command.uid(user).gid(group);
    }
    command.current_dir("/");
    command
}

fn private_folder(prefix: &str) -> PathBuf {
    let folder = tempfile::Builder::new().prefix(prefix).tempdir().unwrap().keep();
    if let Some((user, group)) = server_user() {
        chown(&folder, Some(user), Some(group)).unwrap();
    }
    folder
}

fn server_user() -> Option<(u32, u32)> {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    is_root.then(|| {
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let line = users.lines().find(|line| line.starts_with("postgres:")).expect("the package's user");
        let ids: Vec<u32> = line.split(':').skip(2).take(2).map(|id| id.parse().unwrap()).collect();
        (ids[0], ids[1])
    })
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
