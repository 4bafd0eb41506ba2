# A row that does not exist is locked like one that does: nobody may insert it in between
shard 2
txn t1: 1 alice =1; 2 bob =1 if absent
txn t2: 2 bob insert=2 if absent

> prepare t1 #1 from c1
< read io1: bob
> rows io1
+ 1 Prepare t1 #1 at @0: bob
> durable
< c1: t1 #1 yes at @0
> single t2 from c2
> commit t1 #1 at @0
+ 2 Commit t1 #1 at @0
+ 3 Close t2 of 2: condition 0 on bob found a row
> durable
< flush io2: bob = 1 @1
< tell 1: acknowledge t1 by 2
< c2: t2 closed: condition 0 on bob found a row
