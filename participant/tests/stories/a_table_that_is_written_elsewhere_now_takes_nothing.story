# From a version on a table is written in another region: what was validated before is closed, also what waited
shard 1
txn t1: 1 abroad/a =1
txn t2: 2 b =1; 1 abroad/b =1
txn t3: 1 abroad/b =2
txn t4: 2 c =1; 1 abroad/c =1
txn t5: 1 abroad/d merge=4@-87
txn t6: 1 abroad/e if absent

> single t1 from c1
+ 1 CommitSingle t1 at @0: abroad/a
> durable
< flush io1: abroad/a = 1 @1
< c1: t1 committed at @0 by 1.1
> prepare t2 #1 from c1
+ 2 Prepare t2 #1 at @8: abroad/b
> durable
< c1: t2 #1 yes at @8
# It waits for the lock of t2, and is not looked at before that is free.
> single t3 from c2
> see newer
> prepare t4 #1 from c3
+ 3 Close t4 of 1 2: schema: table 3 is written in region "us" now
> single t6 from c3
< read io2: abroad/e
> abort t2 #1
+ 4 Abort t2 #1
+ 5 Close t3 of 1: schema: table 3 is written in region "us" now
> durable
< tell 2: closed t4: schema: table 3 is written in region "us" now
< tell 2: acknowledge t4 by 1
< c3: t4 #1 closed: schema: table 3 is written in region "us" now
< c2: t3 closed: schema: table 3 is written in region "us" now
# What comes from there is taken.
> single t5 from c4
+ 6 CommitSingle t5 at @16: abroad/d
> durable
< c4: t5 committed at @16 by 1.6
