# Commits that wait are folded to one write for each row; one flush is under way at a time
shard 1
txn t1: 1 alice =1, orders/alice/1 insert=1
txn t2: 1 alice =2
txn t3: 1 alice null
txn t4: 1 bob =4
txn t5: 1 bob delete
txn t6: 1 alice =6

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice, orders/alice/1
> single t2 from c1
+ 2 CommitSingle t2 at @8: alice
> single t3 from c1
+ 3 CommitSingle t3 at @16: alice
> single t4 from c1
+ 4 CommitSingle t4 at @24: bob
> single t5 from c1
+ 5 CommitSingle t5 at @32: bob
> durable
< flush io1: alice = 1 @1, orders/alice/1 inserted @1 = 1 @1
< c1: t1 committed at @0 by 1.1
< c1: t2 committed at @8 by 1.2
< c1: t3 committed at @16 by 1.3
< c1: t4 committed at @24 by 1.4
< c1: t5 committed at @32 by 1.5
> single t6 from c1
+ 6 CommitSingle t6 at @40: alice
> durable
< c1: t6 committed at @40 by 1.6
> wait 10 ms
> flushed io1
< flush io2: alice = 6 @41, bob deleted @32
> flushed io2
