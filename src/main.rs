//! The command line: serve (default), migrate, config, user, export, import.
#![forbid(unsafe_code)]

mod prompt;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use salon::auth::{Passwords, check_password, issuers};
use salon::config::{Config, ConfigError};
use salon::error::Error;
use salon::model::{SiteRole, Slug, Username};
use salon::store::{Account, Credential, NewUser, Store, StoreError};
use salon::transfer::{Imported, Source, Target};
use salon::{store, telemetry, transfer};

/// Many small pieces of memory come and go with every message and every socket: glibc's allocator took a third of the
/// CPU time of that (docs/performance.md), and before 2.38 it does not take the 19 MiB of a password's hash twice.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A chat that keeps what it acknowledged, on one machine or many.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// A TOML file; what is not in it comes from the environment (SALON_<SECTION>__<KEY>) and the defaults.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM (what happens without a command).
    Serve,
    /// Bring the database's schema up to date.
    Migrate,
    /// Print the configuration in force, secrets hidden.
    Config,
    /// Write all that is kept as JSON Lines, as it stands at one moment; also beside running nodes. Login sessions stay
    /// behind. What is written holds password hashes: keep it secret.
    Export {
        /// A file that only its owner may read, whole or not there; - is standard output.
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
        /// Only this room, by its slug, and the users who have to do with it; can be given several times.
        #[arg(long, value_name = "SLUG")]
        room: Vec<String>,
    },
    /// Fill an empty database with what was exported; no node may run on it. One that was cut goes on when it is begun
    /// again with the same file.
    Import {
        /// - is standard input.
        #[arg(value_name = "FILE", default_value = "-")]
        file: PathBuf,
    },
    /// Manage accounts; also beside running nodes.
    #[command(subcommand)]
    User(UserCommand),
}

#[derive(Subcommand)]
enum UserCommand {
    /// Make an account; the password is asked for, or read from standard input.
    Add {
        name: String,
        /// An administrator of the whole site.
        #[arg(long)]
        admin: bool,
    },
    /// Set an account's password, asked for or read from standard input, and end its login sessions.
    Passwd { name: String },
    /// Disable an account; running nodes act on it within 5 seconds.
    Disable { name: String },
    /// Enable an account that was disabled: it may log in again.
    Enable { name: String },
}

/// Why a command ended other than well; its sentence is for the operator.
enum Failure {
    /// Exit code 1.
    Failed(String),
    /// Exit code 2: what was written or configured is wrong.
    Usage(String),
}

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _failpoints = salon::failpoints::setup();
    let cli = Cli::parse();
    let failure = match run(cli) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(failure) => failure,
    };
    let (code, why) = match failure {
        Failure::Failed(why) => (1, why),
        Failure::Usage(why) => (2, why),
    };
    eprintln!("salon: {why}");
    ExitCode::from(code)
}

fn run(cli: Cli) -> Result<(), Failure> {
    let config = Config::load(cli.config.as_deref(), environment())?;
    issuers::check(&config.auth)?;
    telemetry::init(&config.log).map_err(Failure::Usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("the runtime cannot be started ({error})")))?;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            let ended = runtime.block_on(salon::run(config)).map_err(Failure::from);
            // What is left was given its time; a look-up of a name that hangs would hold the exit up.
            runtime.shutdown_background();
            ended
        }
        Command::Migrate => runtime.block_on(async {
            store::open_shared(&config.database)?.migrate().await?;
            println!("the schema is up to date");
            Ok(())
        }),
        Command::Config => {
            print!("{}", config.redacted());
            Ok(())
        }
        Command::Export { out, room } => runtime.block_on(export(&config, out, &room)),
        Command::Import { file } => runtime.block_on(import(&config, file)),
        Command::User(command) => runtime.block_on(manage(command, &config)),
    }
}

async fn export(config: &Config, out: PathBuf, rooms: &[String]) -> Result<(), Failure> {
    let slugs = rooms.iter().map(|room| Slug::parse(room)).collect::<Result<Vec<_>, _>>()?;
    drop(open(config).await?);
    let target = if out.as_os_str() == "-" { Target::Stdout } else { Target::File(out) };
    let summary = transfer::export(&config.database, (!slugs.is_empty()).then_some(&slugs[..]), &target).await?;
    // Standard output may be the file.
    eprintln!("exported {summary}");
    Ok(())
}

async fn import(config: &Config, file: PathBuf) -> Result<(), Failure> {
    let source = if file.as_os_str() == "-" { Source::Stdin } else { Source::File(file) };
    let Imported { summary, before } = transfer::import(&config.database, &source).await?;
    match before {
        0 => eprintln!("imported {summary}"),
        before => eprintln!("imported {summary}, after {before} that were there already"),
    }
    Ok(())
}

async fn manage(command: UserCommand, config: &Config) -> Result<(), Failure> {
    match command {
        UserCommand::Add { name, admin } => {
            let username = Username::parse(&name)?;
            let hash = new_password(&username).await?;
            let role = if admin { SiteRole::Admin } else { SiteRole::User };
            let credential = Credential::Password { hash };
            let store = open(config).await?;
            let new = NewUser { username, credential, role };
            let user = store.create_user(new).await?;
            println!("{} {} was made", user.role.as_str(), user.username);
        }
        UserCommand::Passwd { name } => {
            let store = open(config).await?;
            let account = find(store.as_ref(), &name).await?;
            if account.password_hash.is_none() {
                return Err(Failure::Failed(format!("{name} logs in through an issuer of your own, by no password")));
            }
            let hash = new_password(&account.user.username).await?;
            let ended = store.set_password(account.user.id, &hash, None).await?;
            let ended = ended.map_or(0, |sessions| sessions.len());
            println!("the password of {} was set; login sessions ended: {ended}", account.user.username);
        }
        UserCommand::Disable { name } => {
            let store = open(config).await?;
            let account = find(store.as_ref(), &name).await?;
            store.set_disabled(account.user.id, true).await?;
            println!("{} is disabled", account.user.username);
        }
        UserCommand::Enable { name } => {
            let store = open(config).await?;
            let account = find(store.as_ref(), &name).await?;
            store.set_disabled(account.user.id, false).await?;
            println!("{} is enabled", account.user.username);
        }
    }
    Ok(())
}

/// The store as it is beside a running node, its schema brought up to date as every start does.
async fn open(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    let store = store::open_shared(&config.database)?;
    if config.database.migrate {
        store.migrate().await?;
    }
    Ok(store)
}

async fn find(store: &dyn Store, name: &str) -> Result<Account, Failure> {
    let username = Username::parse(name)?;
    let account = store.account_by_name(&username).await?;
    account.ok_or_else(|| Failure::Failed(format!("there is no user {username}")))
}

/// A password that was asked for, checked and hashed.
async fn new_password(username: &Username) -> Result<String, Failure> {
    let password = prompt::password().map_err(Failure::Failed)?;
    check_password(&password, username)?;
    let passwords =
        Passwords::new(1, 1).map_err(|error| Failure::Failed(format!("no thread can be started ({error})")))?;
    Ok(passwords.hash(password).await?)
}

/// `std::env::vars` would panic on what is no UTF-8, also in variables that are none of ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid { .. } => Self::Usage(error.to_string()),
            // Unlike a user of the chat, the operator is told what is wrong inside.
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            // Which server, and what it said.
            StoreError::Unavailable(_) => Self::Failed(error.to_string()),
            other => Error::from(other).into(),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}
