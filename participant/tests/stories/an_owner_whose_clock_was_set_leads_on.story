# Whoever is the only owner of its log has nobody to hand over to
shard 1
txn t1: 1 alice =1

> clock set by 180000 ms
> single t1 from c1
+ 1 CommitSingle t1 at @180000000: alice
> durable
< flush io1: alice = 1 @180000001
< c1: t1 committed at @180000000 by 1.1
