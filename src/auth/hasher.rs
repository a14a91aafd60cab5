//! argon2 in memory that each thread keeps. A block of 19 MiB taken and given back for every hash is not taken again by
//! glibc before 2.38, so that a node would grow by several of them.

use std::cell::RefCell;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::password_hash::{CustomizedPasswordHasher, PasswordHasher, Result};
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// Memory in KiB, passes and lanes of one hash made today.
pub const COST: (u32, u32, u32) = (19_456, 2, 1);

thread_local! {
    static MEMORY: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// Makes argon2id hashes of today's [`COST`], and those of any other that a stored one names, to verify it.
pub struct Hasher;

impl PasswordHasher<PasswordHash> for Hasher {
    fn hash_password_with_salt(&self, password: &[u8], salt: &[u8]) -> Result<PasswordHash> {
        let (memory, passes, lanes) = COST;
        self.hash_password_with_params(password, salt, Params::new(memory, passes, lanes, None)?)
    }
}

impl CustomizedPasswordHasher<PasswordHash> for Hasher {
    type Params = Params;

    fn hash_password_customized(
        &self,
        password: &[u8],
        salt: &[u8],
        algorithm: Option<&str>,
        version: Option<u32>,
        params: Params,
    ) -> Result<PasswordHash> {
        let algorithm = algorithm.map(Algorithm::try_from).transpose()?.unwrap_or(Algorithm::Argon2id);
        let version = version.map(Version::try_from).transpose()?.unwrap_or(Version::V0x13);
        let argon2 = Argon2::new(algorithm, version, params);
        let params = argon2.params();
        let mut output = vec![0; params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN)];
        in_kept_memory(params.block_count(), |blocks| {
            argon2.hash_password_into_with_memory(password, salt, &mut output, blocks)
        })?;
        Ok(PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: ParamsString::try_from(params)?,
            salt: Some(Salt::new(salt)?),
            hash: Some(Output::new(&output)?),
        })
    }
}

fn in_kept_memory<T>(blocks: usize, work: impl FnOnce(&mut [Block]) -> T) -> T {
    MEMORY.with_borrow_mut(|memory| {
        memory.resize(blocks, Block::new());
        let done = work(memory);
        if blocks > COST.0 as usize {
            // A dearer hash that somebody brought along: what it took is not kept.
            *memory = Vec::new();
        }
        done
    })
}
