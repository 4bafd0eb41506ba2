# A log that has neither its beginning nor a checkpoint was damaged: it must not be taken for an empty one
shard 1
txn t1: 1 alice =1

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
> durable
< flush io1: alice = 1 @1
< c1: t1 committed at @0 by 1.1
> lose record 1
> crash
> replay
> stand
< halt: corrupt, the log has neither its beginning nor a whole checkpoint; restore it
> durable
> read on
