//! How a socket is ended.

/// The close codes of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    Normal = 1000,
    TooLarge = 1009,
    Restarting = 1012,
    Stalled = 4008,
    NoPong = 4009,
    TokenExpired = 4010,
    Flood = 4029,
    NotTheProtocol = 4500,
    SessionEnded = 4501,
    AccountDisabled = 4503,
}

impl Close {
    pub fn code(self) -> u16 {
        self as u16
    }

    pub fn reason(self) -> &'static str {
        match self {
            Self::Normal => "bye",
            Self::TooLarge => "frame too large",
            Self::Restarting => "node restarting",
            Self::Stalled => "reader made no progress",
            Self::NoPong => "no pong",
            Self::TokenExpired => "token expired",
            Self::Flood => "flood of frames",
            Self::NotTheProtocol => "not the protocol",
            Self::SessionEnded => "login session ended",
            Self::AccountDisabled => "account disabled",
        }
    }
}
