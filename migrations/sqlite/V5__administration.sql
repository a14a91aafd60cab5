-- How many sockets the node has, written with its heartbeat; NULL: one of the release before, which did not say.
ALTER TABLE nodes ADD COLUMN sockets INTEGER;
