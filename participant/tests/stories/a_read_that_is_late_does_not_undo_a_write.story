# Rows that were read before a write was applied, and arrive after it, do not hide it
shard 1
txn t1: 2 dave =1; 1 alice +1
txn t2: 1 alice =9
txn t3: 1 alice +1
store alice = 4 @-80

> prepare t1 #1 from c1
< read io1: alice
# The attempt is given up while its row is still being read.
> resolve t1 #1 from c2
+ 1 Refuse t1 #1
< c1: t1 #1 no, refused
> single t2 from c3
+ 2 CommitSingle t2 at @0: alice
> durable
< c2: t1 #1 resolved: refused
< flush io2: alice = 9 @1
< c3: t2 committed at @0 by 1.2
> flushed io2
> single t3 from c4
> rows io1 as then
+ 3 CommitSingle t3 at @8: alice
> durable
< c4: t3 committed at @8 by 1.3
> wait 10 ms
< flush io3: alice = 10 @9
