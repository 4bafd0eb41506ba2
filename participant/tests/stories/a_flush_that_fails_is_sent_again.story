# A flush that failed, perhaps in part, is sent again under its number; who waits is told in the end
shard 1
txn t1: 1 alice =1
txn t2: 1 bob =2

> single t1 from c1 applied
+ 1 CommitSingle t1 at @0: alice
> durable
< flush io1: alice = 1 @1
< c1: t1 committed at @0 by 1.1
> flush fails io1
> single t2 from c2
+ 2 CommitSingle t2 at @8: bob
> await t2 from c3
> durable
< c2: t2 committed at @8 by 1.2
> wait 10 ms
< flush io1: alice = 1 @1
> flushed io1
< flush io2: bob = 2 @9
< c1: t1 applied
> flushed io2
< c3: t2 applied
> await t1 from c4
< c4: t1 applied
