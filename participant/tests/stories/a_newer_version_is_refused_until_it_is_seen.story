# A transaction of a version of the namespace that this server has not seen is refused until it has
shard 1
txn t1 newer: 1 a =1
txn t2 newer: 2 c =1; 1 b =1
txn t3: 1 d =1

> single t1 from c1
< c1: overloaded
> prepare t2 #1 from c1
< c1: t2 #1 no, newer version
> single t3 from c1
+ 1 CommitSingle t3 at @0: d
> durable
< flush io1: d = 1 @1
< c1: t3 committed at @0 by 1.1
> see newer
> single t1 from c1
+ 2 CommitSingle t1 at @8: a
> prepare t2 #1 from c1
> prepare t2 #2 from c1
+ 3 Prepare t2 #2 at @16: b
> durable
< c1: t1 committed at @8 by 1.2
< c1: t2 #1 no, refused
< c1: t2 #2 yes at @16
