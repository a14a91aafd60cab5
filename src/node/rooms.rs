//! Rooms and members: who may do what with a room as such.
