//! From a database into a file: one snapshot, page by page, so that memory does not grow with what there is.

use std::ffi::OsString;
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::progress::Progress;
use super::{FORMAT, Header, Summary};
use crate::config;
use crate::error::{Error, Result};
use crate::model::Slug;
use crate::store::transfer::dump;

/// For its owner only: it holds the hashes of passwords.
const MODE: u32 = 0o600;

/// Where it goes.
#[derive(Debug, Clone)]
pub enum Target {
    Stdout,
    File(PathBuf),
}

/// Writes everything, or these rooms and the users who have to do with them, as it stands at one moment. A file is
/// written under another name (`FILE.part`) and gets its own when it is whole and on the disk: an export that was cut
/// is begun anew by the same command, and an older file stays until then.
pub async fn export(config: &config::Database, rooms: Option<&[Slug]>, target: &Target) -> Result<Summary> {
    let began = Instant::now();
    let mut dump = dump(config, rooms).await?;
    let extent = dump.extent();
    let header = Header {
        salon_export: FORMAT,
        lines: extent.records,
        last_user: extent.last_user,
        last_room: extent.last_room,
    };
    let mut sink = Sink::open(target)?;
    let mut progress = Progress::new("exporting", header.lines);
    sink.line(&header)?;
    let mut lines = 0;
    loop {
        let records = dump.next().await?;
        if records.is_empty() {
            break;
        }
        for record in &records {
            sink.line(record)?;
        }
        lines += records.len() as u64;
        progress.is(lines);
    }
    if lines != header.lines {
        // Both are of one snapshot.
        return Err(Error::Internal(format!("{} records were counted and {lines} read", header.lines)));
    }
    sink.finish()?;
    Ok(Summary { lines, took: began.elapsed() })
}

enum Sink {
    Stdout(BufWriter<io::Stdout>),
    File { out: BufWriter<File>, part: PathBuf, path: PathBuf },
}

impl Sink {
    fn open(target: &Target) -> Result<Self> {
        match target {
            Target::Stdout => Ok(Self::Stdout(BufWriter::new(io::stdout()))),
            Target::File(path) => {
                let mut part = OsString::from(path);
                part.push(".part");
                let part = PathBuf::from(part);
                let out = BufWriter::new(secret_file(&part).map_err(|why| cannot_write(&part, &why))?);
                Ok(Self::File { out, part, path: path.clone() })
            }
        }
    }

    fn line(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).map_err(|error| Error::Internal(error.to_string()))?;
        let written = match self {
            Self::Stdout(out) => writeln!(out, "{text}"),
            Self::File { out, .. } => writeln!(out, "{text}"),
        };
        written.map_err(|error| self.failed(&error))
    }

    fn finish(mut self) -> Result<()> {
        let finished = match &mut self {
            Self::Stdout(out) => out.flush(),
            Self::File { out, part, path } => out
                .flush()
                .and_then(|()| out.get_ref().sync_all())
                .and_then(|()| fs::rename(part, &*path))
                .and_then(|()| sync_folder(path)),
        };
        finished.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Error {
        match self {
            Self::Stdout(_) => Error::Unavailable(format!("standard output takes no more ({error})")),
            Self::File { part, .. } => cannot_write(part, &error.to_string()),
        }
    }
}

/// What an export before left there is written over, unless it is still at it.
fn secret_file(path: &Path) -> Result<File, String> {
    let file = File::options().create(true).truncate(false).write(true).mode(MODE).open(path);
    let file = file.map_err(|error| error.to_string())?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err("another export is writing it".to_owned()),
        Err(TryLockError::Error(error)) => return Err(error.to_string()),
    }
    // Also where it was there before, with other permissions.
    let prepared = file.set_permissions(Permissions::from_mode(MODE)).and_then(|()| file.set_len(0));
    prepared.map(|()| file).map_err(|error| error.to_string())
}

/// So that its new name is on the disk, too.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn cannot_write(path: &Path, why: &str) -> Error {
    Error::Unavailable(format!("cannot write {}: {why}", path.display()))
}
