// A chat of two nodes with Socket.IO and its Redis adapter: join a room, and what one sends goes to all in it.
// node socketio.mjs PORT REDIS_URL
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [port, url] = process.argv.slice(2);
// A publish that a busy machine delays would otherwise end the process.
const publisher = createClient({ url, commandOptions: { timeout: 60_000 } });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const server = createServer();
const io = new Server(server, { adapter: createAdapter(publisher, subscriber), transports: ["websocket"] });
let next = 0;

io.on("connection", (socket) => {
  socket.on("join", async (room, done) => {
    await socket.join(room);
    done();
  });
  socket.on("send", (room, content) => {
    const message = { room, id: ++next, author: socket.id, content, created_at: new Date().toISOString() };
    io.to(room).emit("chat_message", message);
  });
});
server.listen(Number(port), "127.0.0.1");
