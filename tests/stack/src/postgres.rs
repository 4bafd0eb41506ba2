//! PostgreSQL, as the machine has it installed.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::fetch::program;
use crate::plan::Plan;
use crate::process::{Launch, Lifetime};
use crate::wire::{Fields, connect, receive, send};

const PORT: u16 = 5432;
/// The database, and the role that owns everything.
const NAME: &str = "handfast";
/// Where Debian keeps its versions.
const DEBIAN: &str = "/usr/lib/postgresql";
const INSTALL: &str = "apt-get install postgresql";
/// Whom to run as when we are root, which PostgreSQL refuses to be. Debian's package makes this user.
const USER: &str = "postgres";

/// Where clients reach it.
pub(crate) fn address(plan: &Plan) -> SocketAddr {
    SocketAddr::new(plan.host(0), PORT)
}

/// For sqlx, psql and everybody else.
pub(crate) fn url(plan: &Plan) -> String {
    format!("postgres://{NAME}:{}@{}/{NAME}", plan.password, address(plan))
}

/// How to start it.
pub(crate) fn launch(plan: &Plan, folder: &Path) -> anyhow::Result<Launch> {
    let address = address(plan);
    let mut args = vec!["-D".to_owned(), data(folder).display().to_string()];
    let listen = format!("listen_addresses={}", address.ip());
    let port = format!("port={}", address.port());
    // The path of a socket may have 107 bytes, and a temporary folder's may be longer: none is needed.
    let settings = [&listen, &port, "unix_socket_directories=", "max_connections=50"];
    args.extend(settings.into_iter().flat_map(|it| ["-c".to_owned(), it.to_owned()]));
    Ok(Launch { program: binary("postgres")?, args, user: user()?.map(|user| user.name) })
}

/// Makes the database cluster, if that was not done.
pub(crate) fn prepare(plan: &Plan, folder: &Path) -> anyhow::Result<()> {
    let data = data(folder);
    if data.join("PG_VERSION").is_file() {
        return Ok(());
    }
    let user = user()?;
    let password = folder.join("password");
    fs::write(&password, &plan.password)?;
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600))?;
    if let Some(user) = &user {
        for path in [folder, &password] {
            chown(path, Some(user.id), Some(user.group))
                .with_context(|| format!("cannot give {} to {}", path.display(), user.name))?;
        }
    }
    // Made under another name, so that one that was cut off is made again.
    let making = folder.join("making");
    if making.exists() {
        fs::remove_dir_all(&making)?;
    }
    let args = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"];
    let mut initdb = as_user(&binary("initdb")?, user.as_ref())?;
    initdb.args(args).arg(format!("--username={NAME}")).arg("-D").arg(&making);
    run(initdb.arg("--pwfile").arg(&password), folder, user.as_ref())?;
    // Clients may have addresses of their own in the stack's network.
    let access = fs::File::options().append(true).open(making.join("pg_hba.conf"));
    writeln!(access?, "host all all samenet scram-sha-256")?;
    // Nobody is there yet to ask for another database over the network.
    let mut single = as_user(&binary("postgres")?, user.as_ref())?;
    single.args(["--single", "-D"]).arg(&making).args([
        "-c",
        "log_min_messages=warning",
        "postgres",
    ]);
    let sql = fs::File::open(write_sql(folder)?)?;
    run(single.stdin(sql), folder, user.as_ref())?;
    fs::remove_file(&password)?;
    fs::rename(&making, &data).context("cannot name the data folder")
}

fn write_sql(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("create.sql");
    fs::write(&path, format!("CREATE DATABASE {NAME} OWNER {NAME};\n"))?;
    Ok(path)
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn run(command: &mut Command, folder: &Path, user: Option<&User>) -> anyhow::Result<()> {
    let output =
        command.current_dir(folder).output().with_context(|| format!("cannot run {command:?}"))?;
    let who = user.map_or("this user", |user| &user.name);
    ensure!(
        output.status.success(),
        "cannot make a database in {} as {who} ({}); can {who} enter that folder?\n{}{}",
        folder.display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn as_user(program: &Path, user: Option<&User>) -> anyhow::Result<Command> {
    let launch = Launch {
        program: program.to_owned(),
        args: Vec::new(),
        user: user.map(|user| user.name.clone()),
    };
    launch.wrapped(Lifetime::UntilStopped)
}

/// A program of the newest PostgreSQL that is installed.
fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let found = versions
        .filter_map(|it| Some((it.file_name().to_str()?.parse::<u32>().ok()?, it.path())))
        .map(|(version, folder)| (version, folder.join("bin").join(name)))
        .filter(|(_, path)| path.is_file())
        .max();
    match found {
        Some((_, path)) => Ok(path),
        None => program(name, INSTALL),
    }
}

/// A user of this machine.
struct User {
    name: String,
    id: u32,
    group: u32,
}

/// Whom to run as; `None` is ourselves.
fn user() -> anyhow::Result<Option<User>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let found = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == USER).then_some(())?;
        let id = fields.nth(1)?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some(User { name: USER.to_owned(), id, group })
    });
    match found {
        Some(user) => Ok(Some(user)),
        None => bail!("PostgreSQL refuses to run as root, and there is no user {USER}: {INSTALL}"),
    }
}

/// Whether it takes connections to the database.
pub(crate) fn probe(plan: &Plan) -> anyhow::Result<()> {
    let mut body = 0x0003_0000_u32.to_be_bytes().to_vec(); // protocol 3.0
    for text in ["user", NAME, "database", NAME, ""] {
        body.extend(text.as_bytes());
        body.push(0);
    }
    let mut stream = connect(address(plan))?;
    let length = u32::try_from(body.len() + 4).context("a short message")?;
    send(&mut stream, &[&length.to_be_bytes()[..], &body].concat())?;
    let header = receive(&mut stream, 5)?;
    let length = usize::try_from(Fields(&header[1..]).i32()?).context("a negative length")?;
    let said = receive(&mut stream, length.saturating_sub(4))?;
    if header[0] == b'R' {
        // It asks for the password: it is up.
        return Ok(());
    }
    bail!("it answered: {}", String::from_utf8_lossy(&said).replace('\0', " "))
}
