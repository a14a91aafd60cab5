// What salon.js gives. The tests hold it to the module: `tsc` compares the two, and docs/client.md tells the rest.

import type {
  ErrorCode, Joined, Message, ServerAck, ServerAuthenticated, ServerError, ServerFrame, ServerReconnect, ServerWelcome,
  Room, RoomKey, Slug, User,
} from './frames.js';

export type * from './frames.js';

export type State = 'idle' | 'connecting' | 'online' | 'reconnecting' | 'offline' | 'stopped';
export type Transport = 'websocket' | 'events';

/** How the connection is. Times are milliseconds since 1970. */
export interface Status {
  state: State;
  /** Tries since the last connection that lasted. */
  attempt: number;
  /** When the next try is; null while none is waited for. */
  retry_at: number | null;
  /** The close code that ended the last connection, null while online. */
  code: number | null;
  /** What is used, or is tried next. */
  transport: Transport;
}

/** The codes of the server, and those of this module. */
export type SalonErrorCode = ErrorCode | 'network' | 'closed' | 'parked' | 'discarded';

export class SalonError extends Error {
  constructor(code: string, detail?: string, more?: object);
  /** What programs branch on; `message` is for a person. */
  readonly code: SalonErrorCode;
  /** By field, with `invalid` over HTTP. */
  readonly errors?: Record<string, string>;
  /** Over HTTP. */
  readonly status?: number;
  readonly retry_after_ms?: number;
}

/** A message that was written and is not answered yet. */
export interface Unsent {
  room: RoomKey;
  nonce: string;
  content: string;
  reply_to?: number;
  /** When it was written, milliseconds since 1970. */
  at: number;
}

export interface Violation {
  room: RoomKey;
  /** `hole` and `stale` of a live change; `epoch`, `behind` and `order` of an answer to a join. */
  kind: 'hole' | 'stale' | 'epoch' | 'behind' | 'order';
  /** Where the room stood. */
  previous: number | null;
  frame: Message | Joined;
}

/** A frame that is told as it came, by its type. */
type Told = Exclude<ServerFrame, Message | Joined | { type: 'pong' }>;

/** Every event, and its `detail`. */
export type SalonEvents = { [Type in Told['type']]: Extract<Told, { type: Type }> } & {
  state: Status;
  joined: Joined;
  join_failed: { room: RoomKey; code: ErrorCode; detail: string };
  parked: { room: RoomKey };
  change: Message;
  restored: Unsent & { done: Promise<ServerAck> };
  failed: { ref: string; room: RoomKey; nonce?: string; code: SalonErrorCode; detail: string };
  violation: Violation;
  logged_out: Record<string, never>;
};

/** A JWT, or what gives one: asked for each connection and call; `refused` says that the last one was not accepted. */
export type Token = string | ((refused: boolean) => string | Promise<string>);

export interface Options {
  /** Origin of the server, `https://chat.example.org`. Default: the page's. */
  base?: string;
  /** Of the WebSocket. Default: `/ws` at `base`. */
  url?: string;
  /** In place of the browser's cookies. */
  token?: Token;
  /** `auto`: sockets, and event streams where they are blocked. */
  transport?: 'auto' | Transport;
  /** Where unsent messages outlive a page; null for nowhere. Default: `localStorage`. */
  storage?: Pick<Storage, 'length' | 'key' | 'getItem' | 'setItem' | 'removeItem'> | null;
  /** Web Locks, by which tabs take turns; null for none. */
  locks?: Pick<LockManager, 'request'> | null;
  fetch?: typeof globalThis.fetch;
  WebSocket?: typeof globalThis.WebSocket;
  /** For tests. */
  clock?: { now(): number; setTimeout(run: () => void, ms: number): unknown; clearTimeout(timer: any): void };
  /** For tests: from 0 to below 1. */
  random?: () => number;
}

export class Salon extends EventTarget {
  constructor(options?: Options);
  /** Who is logged in: of the last `welcome`, or as `connect` was told. */
  user: User | null;
  get status(): Status;
  /** Sends, edits and deletions without an answer. */
  get unsent(): number;
  on<Type extends keyof SalonEvents>(type: Type, handle: (detail: SalonEvents[Type]) => void): () => void;
  connect(known?: { user?: User | null }): void;
  close(how?: { keep?: boolean }): void;
  check(): void;
  join(room: RoomKey, from?: { after?: number; epoch?: string; limit?: number }): Promise<Joined>;
  leave(room: RoomKey): void;
  position(room: RoomKey): { after: number; epoch: string } | undefined;
  send(room: RoomKey, content: string, more?: { nonce?: string; reply_to?: number }):
    { nonce: string; done: Promise<ServerAck> };
  pending(room?: RoomKey): Unsent[];
  discard(nonce: string): boolean;
  edit(room: RoomKey, id: number, content: string): Promise<ServerAck>;
  delete(room: RoomKey, id: number): Promise<ServerAck>;
  typing(room: RoomKey): void;
  read(room: RoomKey, seq: number): void;
  authenticate(token: string): Promise<ServerAuthenticated>;
  react(room: RoomKey, id: number, emoji: string, on?: boolean): Promise<Message>;
  history(room: RoomKey, page?: { before?: number; after?: number; limit?: number }):
    Promise<{ messages: Message[]; older: boolean; newer: boolean }>;
  call(method: string, path: string, body?: unknown): Promise<{ body: any; links: Record<string, string> }>;
}

export const STATES: readonly State[];

export type Session = { state: 'ok'; user: User; renewed?: true } | { state: 'logged_out' } | { state: 'unreachable' }
  | { state: 'busy'; retry_after_ms: number };

/** Who is logged in; renews an access that has run out, one tab at a time. Never rejects. */
export function checkSession(options?: Pick<Options, 'fetch' | 'base' | 'token' | 'locks'>): Promise<Session>;

/** Puts a change into a map by message id if it is newer than what is there; says whether it did. */
export function mergeChange(messages: Map<number, Message>, change: Message): boolean;

export const BACKOFF_MIN_MS: number;
export const BACKOFF_MAX_MS: number;
export const OUTBOX_MAX: number;
export const IN_FLIGHT_MAX: number;
export const ACK_WAIT_MS: number;
export const TRIES_MAX: number;
/** The wait before a try, with full jitter. */
export function backoffMs(attempt: number, random?: () => number): number;
export function newNonce(random?: Crypto): string;
