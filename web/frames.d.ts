// What goes over the socket. Made from the program by its tests, not by hand; to write it anew:
// SALON_WRITE_TYPES=1 cargo test --features failpoints --test suite typescript

/** What the last change of a message was. */
export type ChangeKind = "chat_message" | "message_edited" | "message_deleted" | "message_reacted";

/** Extends a socket that was opened by token. */
export interface ClientAuth {
  ref?: Reference | null;
  token: string;
  type: "auth";
}

export interface ClientDelete {
  id: number;
  ref?: Reference | null;
  room: RoomKey;
  type: "delete";
}

export interface ClientEdit {
  content: string;
  id: number;
  ref?: Reference | null;
  room: RoomKey;
  type: "edit";
}

export type ClientFrame = ClientJoin | ClientLeave | ClientSend | ClientEdit | ClientDelete | ClientTyping | ClientRead | ClientAuth | ClientPing;

/** Enters a room, or several: then `rooms` stands in place of the other fields. */
export interface ClientJoin {
  after?: number | null;
  /** The life of the clock that `after` is of. */
  epoch?: string | null;
  limit?: number | null;
  ref?: Reference | null;
  room?: RoomKey | null;
  rooms?: Array<JoinOne> | null;
  type: "join";
}

export interface ClientLeave {
  ref?: Reference | null;
  room: RoomKey;
  type: "leave";
}

export interface ClientPing {
  ref?: Reference | null;
  type: "ping";
}

/** How far the user has read; not answered. */
export interface ClientRead {
  ref?: Reference | null;
  room: RoomKey;
  seq: number;
  type: "read";
}

export interface ClientSend {
  content: string;
  /** 1 to 64 characters; the same nonce again is the same message. */
  nonce?: string | null;
  ref?: Reference | null;
  reply_to?: number | null;
  room: RoomKey;
  type: "send";
}

/** Tells the others in the room; not answered. */
export interface ClientTyping {
  ref?: Reference | null;
  room: RoomKey;
  type: "typing";
}

/** Which life of a room's clock this is. Changes only when the clock went back. */
export type Epoch = string;

/** What programs branch on. */
export type ErrorCode = "malformed" | "unauthenticated" | "invalid_credentials" | "forbidden" | "not_found" | "method_not_allowed" | "conflict" | "too_large" | "unsupported_media_type" | "invalid" | "rate_limited" | "unavailable" | "internal";

/** One of the rooms of a `join`. */
export interface JoinOne {
  after?: number | null;
  epoch?: string | null;
  limit?: number | null;
  room: RoomKey;
}

/** The answer to a `join`: how the room stands. */
export interface Joined {
  epoch: Epoch;
  info: Room;
  messages: Array<Message>;
  more: boolean;
  ref?: Reference;
  reset: boolean;
  room: Slug;
  seq: number;
  type: JoinedType;
  user_count: number;
  users: Array<Username>;
}

/** The type of `joined`. */
export type JoinedType = "joined";

/** A message as the wire shows it everywhere: live frames, `joined.messages`, HTTP pages, event streams. */
export interface Message {
  author: Username;
  author_id: UserId;
  content: string;
  created_at: Timestamp;
  deleted: boolean;
  edited_at: Timestamp | null;
  /** The first position this one speaks for, where it speaks for several; in live frames only. */
  from?: number;
  id: number;
  /** Members whom the text names. */
  mentions?: Array<Username>;
  nonce: string | null;
  /** By emoji. */
  reactions?: Record<string, ReactionCount>;
  reply_to: number | null;
  room: Slug;
  room_id: RoomId;
  seq: number;
  type: ChangeKind;
}

/** How many gave a message the same reaction, and the first of them by name. */
export interface ReactionCount {
  count: number;
  users: Array<string>;
}

/** The client's own name for a frame, given back with its answer. At most 64 characters. */
export type Reference = number | string;

/** Why a socket has left a room without asking for it. */
export type Removal = "kicked" | "banned" | "room_deleted" | "left";

/** A member's role in a room. The order is the order of power. */
export type Role = "member" | "moderator" | "owner";

/** A room as one user sees it. */
export interface Room {
  epoch: Epoch;
  id: RoomId;
  kind: RoomKind;
  last_read: number;
  /** Those among them that name the user, at most 100. */
  mentions: number;
  name: RoomName;
  /** Users; 0 when it cannot be known now. */
  online: number;
  /** Days after which the room's messages are removed, where that is set for the room; at most what is set for all. */
  retention_days?: number | null;
  role: Role | null;
  seq: number;
  slug: Slug;
  topic: Topic;
  /** Messages by others with id > `last_read`, at most 100. */
  unread: number;
}

export type RoomId = number;

/** A string is a slug, an integer an id. */
export type RoomKey = string | number;

export type RoomKind = "public" | "private" | "direct";

/** 1–100 characters, not blank, trimmed. */
export type RoomName = string;

export interface ServerAck {
  created_at?: Timestamp;
  duplicate?: boolean;
  id: number;
  nonce?: string;
  ref?: Reference;
  room: Slug;
  seq: number;
  type: "ack";
}

export interface ServerAuthenticated {
  expires_at: Timestamp;
  ref?: Reference;
  type: "authenticated";
}

export interface ServerError {
  code: ErrorCode;
  detail: string;
  nonce?: string;
  ref?: Reference;
  retry_after_ms?: number;
  room?: RoomKey;
  type: "error";
}

export type ServerFrame = ServerWelcome | ServerLeft | ServerAck | ServerUserJoin | ServerUserLeave | ServerUserList | ServerUserCount | ServerTyping | ServerRead | ServerUnread | ServerRoomUpdated | ServerRoomAdded | ServerRemoved | ServerAuthenticated | ServerPong | ServerError | ServerReconnect | Message | Joined;

export interface ServerLeft {
  ref?: Reference;
  room: Slug;
  type: "left";
}

export interface ServerPong {
  ref?: Reference;
  type: "pong";
}

export interface ServerRead {
  room: Slug;
  seq: number;
  type: "read";
}

export interface ServerReconnect {
  reason: string;
  type: "reconnect";
  within_ms: number;
}

export interface ServerRemoved {
  reason: Removal;
  room: Slug;
  type: "removed";
}

/** A room became the user's. */
export interface ServerRoomAdded {
  info: Room;
  type: "room_added";
}

export interface ServerRoomUpdated {
  info: Room;
  room: Slug;
  type: "room_updated";
}

export interface ServerTyping {
  room: Slug;
  type: "typing";
  user: Username;
}

export interface ServerUnread {
  mentions: number;
  room: Slug;
  type: "unread";
  unread: number;
}

export interface ServerUserCount {
  room: Slug;
  type: "user_count";
  user_count: number;
}

export interface ServerUserJoin {
  room: Slug;
  type: "user_join";
  user: Username;
  user_count: number;
}

export interface ServerUserLeave {
  room: Slug;
  type: "user_leave";
  user: Username;
  user_count: number;
}

export interface ServerUserList {
  room: Slug;
  type: "user_list";
  user_count: number;
  users: Array<Username>;
}

export interface ServerWelcome {
  heartbeat_s: number;
  limits: WelcomeLimits;
  node: string;
  protocol: number;
  type: "welcome";
  user: User;
}

/** A user's role on the whole site. */
export type SiteRole = "user" | "admin";

/** A room's address: 1–64 lower-case letters or digits of any script, and `-`, with at least one letter. */
export type Slug = string;

/** Milliseconds since 1970 in UTC; written as RFC 3339 with milliseconds. */
export type Timestamp = string;

/** 0–250 characters, trimmed. */
export type Topic = string;

export interface User {
  id: UserId;
  role: SiteRole;
  username: Username;
}

export type UserId = number;

/** 1–32 letters or digits of any script, `_`, `-`, `.`, in NFKC. */
export type Username = string;

/** The limits a client should know, as `welcome` tells them. */
export interface WelcomeLimits {
  content_chars: number;
  frame_bytes: number;
  message_burst: number;
  messages_per_s: number;
  rooms_per_socket: number;
}
