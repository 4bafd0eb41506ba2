# When too much is remembered the floor moves on, but never so near that a retry has no chance
shard 1
limit remembered 4
txn t1: 1 a =1
txn t2: 1 b =1
txn t3: 1 c =1
txn t4: 1 d =1
txn t5: 1 e =1
txn t6 at -100: 1 f =1
txn t7 at -100: 1 g =1
txn t8 at -100: 1 h =1

> single t1 from c1
+ 1 CommitSingle t1 at @0: a
> single t2 from c1
+ 2 CommitSingle t2 at @8: b
> single t3 from c1
+ 3 CommitSingle t3 at @16: c
> single t4 from c1
+ 4 CommitSingle t4 at @24: d
> durable
< flush io1: a = 1 @1
< c1: t1 committed at @0 by 1.1
< c1: t2 committed at @8 by 1.2
< c1: t3 committed at @16 by 1.3
< c1: t4 committed at @24 by 1.4
> wait 10 ms
> flushed io1
< flush io2: b = 1 @9, c = 1 @17, d = 1 @25
> single t5 from c1
+ 5 CommitSingle t5 at @10000: e
> durable
< c1: t5 committed at @10000 by 1.5
> wait 10 ms
+ 6 Floor -998
> durable
> flushed io2
< flush io3: e = 1 @10001
> single t1 from c2
< c2: t1 too old, floor -998
> single t3 from c2
< c2: t3 committed at @16 by 1.3
> single t6 from c1
+ 7 CommitSingle t6 at @20000: f
> single t7 from c1
+ 8 CommitSingle t7 at @20008: g
> single t8 from c1
+ 9 CommitSingle t8 at @20016: h
> durable
< c1: t6 committed at @20000 by 1.7
< c1: t7 committed at @20008 by 1.8
< c1: t8 committed at @20016 by 1.9
# Everything but the youngest quarter of a second is given up.
> wait 10 ms
+ 10 Floor -995
> durable
> single t5 from c2
< c2: t5 too old, floor -995
