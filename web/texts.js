// Every text a person reads. A language is one more entry of TEXTS; `{name}` is filled in by `t`.

const TEXTS = {
  en: {
    tagline: 'A place to talk.',
    log_in: 'Log in',
    register: 'Register',
    log_out: 'Log out',
    no_account: 'New here?',
    have_account: 'Already have an account?',
    username: 'Username',
    password: 'Password',
    password_hint: 'At least 8 characters.',
    show_password: 'Show password',
    logged_out: 'You are logged out. Log in to go on.',
    starting: 'One moment…',

    rooms: 'Rooms',
    your_rooms: 'Your rooms',
    other_rooms: 'More rooms',
    find_room: 'Find or join a room',
    join_named: 'Join “{name}”',
    more_rooms: 'Show more rooms',
    no_rooms: 'No rooms yet. Create the first one!',
    no_match: 'No room here is called that.',
    unread: '{count} unread',
    unread_many: '99+ unread',
    private: 'private',
    direct: 'direct',

    create_room: 'Create a room',
    room_name: 'Name',
    room_topic: 'Topic (optional)',
    room_kind: 'Who may enter?',
    kind_public: 'Everyone',
    kind_public_hint: 'Anyone who is logged in can find and join it.',
    kind_private: 'Members only',
    kind_private_hint: 'Nobody else even sees that it exists.',
    create: 'Create',
    cancel: 'Cancel',

    back: 'Back to the rooms',
    people: 'People',
    online_count: '{count} online',
    online_many: '{count} people are here. That is too many to name.',
    online_unknown: 'Not known while disconnected',
    you: 'you',
    pick_room: 'Pick a room, or create one.',
    room_empty: 'Nobody has said anything yet. Go ahead!',
    room_start: 'This is where {name} begins.',
    room_missing: 'There is no room called “{name}”, or it is not open to you.',
    room_gone: { kicked: 'You were removed from {name}.', banned: 'You were banned from {name}.',
      room_deleted: '{name} was deleted.', left: 'You left {name}.' },
    loading_older: 'Loading older messages…',
    older_failed: 'Older messages could not be loaded.',
    new_below: 'New messages',
    to_latest: 'Jump to the latest',
    new_divider: 'New',
    today: 'Today',
    yesterday: 'Yesterday',

    write_to: 'Write to {name}',
    send: 'Send',
    sending: 'sending…',
    waiting: 'will be sent when you are connected',
    failed: 'Not sent: {why}',
    try_again: 'Try again',
    discard: 'Discard',
    edit: 'Edit',
    save: 'Save',
    delete: 'Delete',
    delete_sure: 'Delete this message for everyone?',
    edited: 'edited',
    deleted: 'This message was deleted.',
    edit_hint: 'Enter saves, Escape cancels',
    edit_failed: 'Not changed: {why}',
    typing_one: '{a} is typing…',
    typing_two: '{a} and {b} are typing…',
    typing_many: 'Several people are typing…',
    characters_left: '{count} characters left',
    characters_over: '{count} characters too long',

    state: { idle: 'Not connected', connecting: 'Connecting…', online: 'Connected', reconnecting: 'Reconnecting…',
      offline: 'Offline', stopped: 'Disconnected' },
    lost_reconnecting: 'Connection lost. Reconnecting…',
    lost_offline: 'You are offline. What you write is sent later.',
    lost_stopped: 'The server ended this connection.',
    retry_now: 'Try now',

    error: {
      network: 'The server cannot be reached. Check your connection and try again.',
      invalid_credentials: 'The username or the password is wrong.',
      conflict: 'That is taken already.',
      rate_limited: 'That was too often. Wait a moment and try again.',
      unavailable: 'The server is busy. Try again in a moment.',
      internal: 'Something went wrong on the server. Try again later.',
      forbidden: 'You may not do that.',
      not_found: 'That does not exist.',
      too_large: 'That is too long.',
      closed: 'the connection was closed',
    },
  },
};

/** The first of the browser's languages that there are texts for. */
export const language = (globalThis.navigator?.languages ?? []).map((tag) => tag.split('-')[0])
  .find((tag) => tag in TEXTS) ?? 'en';

/** A text by its name (`state.online`), filled in; a name without a text stands for itself, so that it is seen. */
export function t(name, values = {}) {
  const text = name.split('.').reduce((texts, part) => texts?.[part], TEXTS[language]);
  if (typeof text !== 'string') return name;
  return text.replace(/\{(\w+)\}/g, (whole, key) => (key in values ? String(values[key]) : whole));
}

/** The sentence for an error: our own where there is one for its code, else the server's. */
export function errorText(error) {
  const own = t(`error.${error.code}`);
  const ours = own !== `error.${error.code}`;
  // These say more in the server's words: which name is taken, what is too long.
  const theirs = ['conflict', 'invalid', 'forbidden', 'too_large'].includes(error.code) && error.message;
  return theirs || (ours ? own : error.message);
}
