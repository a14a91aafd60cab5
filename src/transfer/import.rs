//! From a file into an empty database: in batches, each noted with what it brought, so that an import that was cut goes
//! on where it was when it is begun again with the same file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::progress::Progress;
use super::{FORMAT, Header, Summary};
use crate::config;
use crate::error::{Error, Result};
use crate::store::transfer::{Extent, Load, LoadError, Record, Taken, load};

/// Lines stored in one transaction, and bytes of them.
const BATCH_LINES: usize = 1_000;
const BATCH_BYTES: usize = 8 << 20;
/// No record is as long: a message with its text, and a million who reacted.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Where it comes from.
#[derive(Debug, Clone)]
pub enum Source {
    Stdin,
    File(PathBuf),
}

/// What an import came to.
#[derive(Debug, Clone, Copy)]
pub struct Imported {
    pub summary: Summary,
    /// Lines that an import before had taken already.
    pub before: u64,
}

/// Fills the database. Every error names the line; what stands before it stays, and the same file, with that line
/// mended, goes on from there.
pub async fn import(config: &config::Database, source: &Source) -> Result<Imported> {
    let began = Instant::now();
    let mut lines = Lines::open(source)?;
    let header = lines.header()?;
    let mut load = load(config).await.map_err(|error| at(None, error))?;
    let before = load.begun().await.map_err(|error| at(None, error))?;
    let mut progress = Progress::new("importing", header.lines);
    let skipped = match &before {
        Some(taken) => lines.skip(taken)?,
        None => 0,
    };
    let mut importing = Importing { load: load.as_mut(), header: &header, batch: Vec::new(), bytes: 0 };
    while let Some(line) = lines.next()? {
        if lines.number - 1 > header.lines {
            return Err(lines.wrong(&format!("the first line says that {} follow, and here are more", header.lines)));
        }
        importing.take(line).await?;
        progress.is(lines.number - 1);
    }
    if lines.number - 1 < header.lines {
        let why = format!("the file ends after {} of {} lines: it was cut", lines.number - 1, header.lines);
        return Err(Error::Malformed(why));
    }
    importing.finish(lines.taken(true)).await?;
    let summary = Summary { lines: header.lines - skipped, took: began.elapsed() };
    Ok(Imported { summary, before: skipped })
}

/// A line that was read and not stored yet.
struct Line {
    record: Record,
    bytes: usize,
    taken: Taken,
}

struct Importing<'a> {
    load: &'a mut dyn Load,
    header: &'a Header,
    batch: Vec<Line>,
    bytes: usize,
}

impl Importing<'_> {
    async fn take(&mut self, line: Line) -> Result<()> {
        self.bytes += line.bytes;
        self.batch.push(line);
        if self.batch.len() < BATCH_LINES && self.bytes < BATCH_BYTES {
            return Ok(());
        }
        self.store().await
    }

    async fn store(&mut self) -> Result<()> {
        self.bytes = 0;
        let (records, mut marks): (Vec<Record>, Vec<Taken>) =
            std::mem::take(&mut self.batch).into_iter().map(|line| (line.record, line.taken)).unzip();
        let Some(last) = marks.pop() else { return Ok(()) };
        match self.load.put(&records, &last).await {
            Ok(()) => return Ok(()),
            Err(LoadError::Wrong(_)) => {}
            Err(error) => return Err(at(None, error)),
        }
        // One of them is wrong. Those before it are stored one by one, and it says so itself.
        marks.push(last);
        for (record, taken) in records.iter().zip(&marks) {
            let put = self.load.put(std::slice::from_ref(record), taken).await;
            put.map_err(|error| at(Some(taken.lines), error))?;
        }
        Ok(())
    }

    async fn finish(&mut self, taken: Taken) -> Result<()> {
        self.store().await?;
        let Header { lines, last_user, last_room, .. } = *self.header;
        let extent = Extent { records: lines, last_user, last_room };
        self.load.move_ids(&extent).await.map_err(|error| at(None, error))?;
        self.load.put(&[], &taken).await.map_err(|error| at(None, error))
    }
}

/// The file, line by line; numbers begin at 1, with the first line.
struct Lines {
    from: Box<dyn BufRead + Send>,
    /// Of the line read last.
    number: u64,
    digest: Sha256,
}

impl Lines {
    fn open(source: &Source) -> Result<Self> {
        let from: Box<dyn BufRead + Send> = match source {
            Source::Stdin => Box::new(BufReader::new(io::stdin())),
            Source::File(path) => {
                let file = File::open(path);
                let file = file.map_err(|why| Error::Unavailable(format!("cannot read {}: {why}", path.display())))?;
                Box::new(BufReader::new(file))
            }
        };
        Ok(Self { from, number: 0, digest: Sha256::new() })
    }

    fn header(&mut self) -> Result<Header> {
        let line = self.read()?.ok_or_else(|| Error::Malformed("the file is empty".to_owned()))?;
        let value: serde_json::Value = serde_json::from_slice(&line).map_err(|_| self.no_export())?;
        match value.get("salon_export").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => {
                return Err(self.wrong(&format!("the file is of format {format}, and this salon reads {FORMAT}")));
            }
            None => return Err(self.no_export()),
        }
        serde_json::from_value(value).map_err(|error| self.wrong(&error.to_string()))
    }

    fn next(&mut self) -> Result<Option<Line>> {
        let Some(line) = self.read()? else { return Ok(None) };
        let record: Record = serde_json::from_slice(&line).map_err(|error| self.wrong(&plain(&error)))?;
        record.check().map_err(|why| self.wrong(&why))?;
        Ok(Some(Line { record, bytes: line.len(), taken: self.taken(false) }))
    }

    /// Passes over what an import before has taken, which must be the same to the byte. How many lines follow the first.
    fn skip(&mut self, taken: &Taken) -> Result<u64> {
        while self.number < taken.lines {
            if self.read()?.is_none() {
                break;
            }
        }
        if self.number != taken.lines || self.taken(false).digest != taken.digest {
            let why = format!(
                "the database holds the first {} lines of another file: an import needs one without users and rooms",
                taken.lines
            );
            return Err(Error::Conflict(why));
        }
        Ok(self.number - 1)
    }

    /// How far it is.
    fn taken(&self, finished: bool) -> Taken {
        Taken { lines: self.number, digest: self.digest.clone().finalize().to_vec(), finished }
    }

    /// The next line without its end.
    fn read(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = (&mut self.from).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let read =
            read.map_err(|error| Error::Unavailable(format!("reading stops at line {} ({error})", self.number + 1)))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if line.pop() != Some(b'\n') {
            let why =
                if read as u64 == LINE_BYTES_MAX { "it is too long" } else { "it is not whole: the file was cut" };
            return Err(self.wrong(why));
        }
        self.digest.update(&line);
        self.digest.update(b"\n");
        Ok(Some(line))
    }

    fn no_export(&self) -> Error {
        self.wrong("this is no export of salon's")
    }

    fn wrong(&self, why: &str) -> Error {
        wrong(self.number, why)
    }
}

fn at(line: Option<u64>, error: LoadError) -> Error {
    match (line, error) {
        (Some(line), LoadError::Wrong(why)) => wrong(line, &why),
        (None, LoadError::Wrong(why)) | (_, LoadError::Refused(why)) => Error::Conflict(why),
        (_, LoadError::Store(error)) => match error {
            crate::store::StoreError::Unavailable(why) => Error::Unavailable(why),
            other => Error::Internal(other.to_string()),
        },
    }
}

fn wrong(line: u64, why: &str) -> Error {
    Error::Malformed(format!("line {line}: {why}"))
}

/// What serde says, without the place within the line's own text that it takes for a file.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((why, _)) => format!("{why} (at its character {})", error.column()),
        None => text,
    }
}
