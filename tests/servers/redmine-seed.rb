# What the throw-away Redmine holds, run by `rails runner`: fixed ids, fixed keys, one public and one private project.
require 'json'

def person(login, first, last)
  user = User.new(firstname: first, lastname: last, mail: "#{login}@example.net", language: 'en', mail_notification: 'none')
  user.login = login
  user.password = user.password_confirmation = "#{login}-secret1"
  user.status = User::STATUS_ACTIVE
  user.save!
  user
end

def key(user, value)
  Token.create!(user: user, action: 'api').update_column(:value, value)
end

def project(identifier, name, is_public)
  Project.create!(name: name, identifier: identifier, is_public: is_public, trackers: Tracker.order(:position).to_a,
                  enabled_module_names: %w[issue_tracking files wiki])
end

def field(name, format, **options)
  defaults = { is_for_all: true, is_filter: true, trackers: Tracker.order(:position).to_a, visible: true, editable: true }
  IssueCustomField.create!(defaults.merge(name: name, field_format: format, **options))
end

ActiveRecord::Base.transaction do
  Setting.rest_api_enabled = '1'
  Setting.host_name = '127.0.0.1'
  Setting.login_required = ENV['REDMINE_LOGIN_REQUIRED'] == '1' ? '1' : '0'
  Setting.default_language = 'en'
  Setting.notified_events = []
  Setting.attachment_max_size = '5120' # KB, Redmine's own default

  admin = User.find_by_login('admin')
  admin.update!(password: 'adminadmin1', password_confirmation: 'adminadmin1', must_change_passwd: false,
                mail: 'admin@example.net')
  people = {
    admin => 'Manager',
    person('alice', 'Alice', 'Agent') => 'Manager',
    person('bob', 'Bob', 'Builder') => 'Developer',
    person('carol', 'Carol', 'Customer') => 'Reporter',
  }
  keys = JSON.parse(ENV.fetch('SEED_KEYS'))
  people.each_key { |user| key(user, keys.fetch(user.login)) }

  support = project('support', 'Support', true)
  project('secret', 'Secret', false)
  people.each { |user, role| Member.create!(project: support, principal: user, roles: [Role.find_by_name(role)]) }
  categories = %w[Hardware Software Network].map { |name| IssueCategory.create!(project: support, name: name) }

  fields = [
    field('External ID', 'string', searchable: true),
    field('Long text', 'text'),
    field('Severity', 'list', possible_values: %w[S1 S2 S3 S4]),
    field('Labels', 'list', multiple: true, possible_values: ['vip', 'billing', 'needs reply', 'été', 'a,b']),
    field('Points', 'int'),
    field('Tags', 'string'),
    field('Due on', 'date'),
    field('Billable', 'bool'),
    field('Hours', 'float'),
    field('Owner', 'user'),
    field('Channel', 'enumeration', multiple: false),
    field('Link', 'link'),
  ]
  channel = fields.find { |item| item.name == 'Channel' }
  %w[mail web phone].each.with_index(1) { |name, place| channel.enumerations.create!(name: name, position: place) }

  numbers = ->(rows) { rows.to_h { |row| [row.name, row.id] } }
  File.write(ENV.fetch('SEED_JSON'), JSON.generate(
    api_key: keys.fetch('admin'),
    project: { id: support.id, identifier: support.identifier },
    private_project: 'secret',
    users: people.map { |user, role| { id: user.id, login: user.login, api_key: keys.fetch(user.login), role: role } },
    trackers: numbers.(Tracker.order(:position)),
    statuses: numbers.(IssueStatus.order(:position)),
    priorities: numbers.(IssuePriority.order(:position)),
    categories: numbers.(categories),
    custom_fields: numbers.(fields)
  ))
end
