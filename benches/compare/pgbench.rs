//! What Postgres does by itself, called by pgbench: the measure for salon's share of it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::cpu;
use super::servers::Backends;
use super::support::Result;
use super::support::bed::Bed;
use super::support::guarded::new_folder;
use super::support::postgres::run;

const ROOMS: usize = 100;
const USERS: usize = 10;
/// Of pgbench where the rate is given.
const PACED_CLIENTS: u32 = 8;
/// … and where it is not: the row of single-row commits.
const BUSY_CLIENTS: u32 = 32;

/// As salon's connections have it (`src/store/postgres/pool.rs`): without it plans are those of empty tables.
pub const PLANNING: &str = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off";

/// As `src/store/postgres/append.rs` calls it, with one message, which waits for its room. `CONTENT` is put in.
pub const APPEND: &str = "\
\\set room random(:room0, :room1)
\\set author random(:user0, :user1)
\\set nonce random(1, 9000000000000000000)
SELECT idx, outcome, id, created_at, author, seq, kind, edited_at, deleted, content
FROM salon_append(ARRAY[:room::bigint], ARRAY[:author::bigint], ARRAY[:nonce::text], ARRAY['CONTENT'],
    ARRAY['\\x00112233445566778899aabbccddeeff'::bytea], ARRAY[NULL::bigint], true);
";

/// The least that a durable message could be: one row in a table with one index.
const INSERT: &str = "\
\\set room random(:room0, :room1)
\\set author random(:user0, :user1)
INSERT INTO alone (room_id, author_id, content) VALUES (:room::bigint, :author::bigint, 'CONTENT');
";

const ALONE: &str = "
CREATE TABLE alone (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, room_id bigint NOT NULL, author_id bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(), content text NOT NULL
)";

pub struct Alone {
    /// CPU of Postgres for a message appended at the rate given, in microseconds.
    pub append_cpu_us: f64,
    /// What 99 of 100 such commits took at most, in milliseconds, from when they were begun.
    pub commit_p99_ms: f64,
    /// Messages a second from 32 clients that wait for nothing but their commit.
    pub appends_per_s: f64,
    /// The same as plain rows, without anything of salon's.
    pub inserts_per_s: f64,
}

pub fn measure(backends: &Backends, name: &str, per_s: u32, content_bytes: usize, seconds: u64) -> Result<Alone> {
    let url = backends.postgres.new_database(name)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let bed = runtime.block_on(async {
        let bed = Bed::new(&url, USERS, ROOMS).await?;
        let (client, connection) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        client.batch_execute(ALONE).await.map_err(|error| error.to_string())?;
        Ok::<_, String>(bed)
    })?;
    let folder = new_folder()?;
    let pgbench = Pgbench { backends, name, bed: &bed, folder: &folder, seconds, content_bytes };
    let measured = pgbench.measure(per_s);
    let _ = std::fs::remove_dir_all(&folder);
    measured
}

struct Pgbench<'a> {
    backends: &'a Backends,
    name: &'a str,
    bed: &'a Bed,
    folder: &'a Path,
    seconds: u64,
    content_bytes: usize,
}

impl Pgbench<'_> {
    fn measure(&self, per_s: u32) -> Result<Alone> {
        // Plans, pages and members are there when it counts.
        self.run(APPEND, PACED_CLIENTS, 2, &["--rate", &per_s.to_string()])?;
        let log = self.folder.join("commits").display().to_string();
        let rate = per_s.to_string();
        let paced = ["--rate", &rate, "--log", "--log-prefix", &log];
        // Measured from within, so that what new connections cost is left out.
        let ((cpu_before, before), (cpu_after, after)) = std::thread::scope(|scope| {
            let pgbench = scope.spawn(|| self.run(APPEND, PACED_CLIENTS, self.seconds + 3, &paced));
            std::thread::sleep(Duration::from_secs(2));
            let before = self.so_far()?;
            std::thread::sleep(Duration::from_secs(self.seconds));
            let after = self.so_far()?;
            pgbench.join().map_err(|_| "pgbench's thread panicked")??;
            Ok::<_, String>((before, after))
        })?;
        Ok(Alone {
            append_cpu_us: (cpu_after - cpu_before) as f64 / (after - before).max(1.0),
            commit_p99_ms: p99_ms(self.folder)?,
            appends_per_s: self.run(APPEND, BUSY_CLIENTS, self.seconds, &[])?,
            inserts_per_s: self.run(INSERT, BUSY_CLIENTS, self.seconds, &[])?,
        })
    }

    /// What Postgres has spent, in microseconds, and the messages that are stored.
    fn so_far(&self) -> Result<(u64, f64)> {
        let mut psql = self.backends.postgres.client("psql");
        let stored = run(psql.args(["-Atc", "SELECT sum(seq) FROM room_clocks", self.name]))?;
        let stored = stored.trim().parse().map_err(|_| format!("psql says {stored}"))?;
        Ok((cpu::micros(self.backends.postgres.server.pid()), stored))
    }

    /// Transactions a second.
    fn run(&self, script: &str, clients: u32, seconds: u64, more: &[&str]) -> Result<f64> {
        let file = self.folder.join("script.sql");
        let script = script.replace("CONTENT", &"x".repeat(self.content_bytes));
        std::fs::write(&file, script).map_err(|error| error.to_string())?;
        let ends = |ids: &[i64]| (ids.first().copied().unwrap_or(0), ids.last().copied().unwrap_or(0));
        let (users, rooms): (Vec<_>, Vec<_>) =
            (self.bed.users.iter().map(|user| user.0).collect(), self.bed.rooms.iter().map(|room| room.0).collect());
        let mut command: Command = self.backends.postgres.client("pgbench");
        command.env("PGOPTIONS", PLANNING);
        command.args(["--no-vacuum", "--protocol=prepared", "--jobs=1", "--client", &clients.to_string()]);
        command.args(["--time", &seconds.to_string()]).arg("--file").arg(&file);
        for (name, value) in
            [("user0", ends(&users).0), ("user1", ends(&users).1), ("room0", ends(&rooms).0), ("room1", ends(&rooms).1)]
        {
            command.arg(format!("--define={name}={value}"));
        }
        let told = run(command.args(more).arg(self.name))?;
        let number = |key: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            let number = line.trim().split([' ', '/']).next().unwrap_or_default();
            number.parse::<f64>().map_err(|_| format!("pgbench tells no {key}:\n{told}"))
        };
        number("tps =")
    }
}

/// Of a log's lines `client transaction time script epoch micros lag`: the time less the lag is the commit alone.
fn p99_ms(folder: &Path) -> Result<f64> {
    let mut times = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| error.to_string())?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("commits") {
            let log = std::fs::read_to_string(entry.path()).map_err(|error| error.to_string())?;
            times.extend(log.lines().filter_map(|line| {
                let fields: Vec<u64> = line.split(' ').filter_map(|field| field.parse().ok()).collect();
                Some(fields.get(2)?.saturating_sub(*fields.get(6)?))
            }));
        }
    }
    times.sort_unstable();
    let place = times.len().checked_sub(1).ok_or("pgbench wrote no log")? * 99 / 100;
    Ok(times[place] as f64 / 1000.0)
}
